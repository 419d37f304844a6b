//! Receipt signatures: what verifies, what does not, and what a state signature depends on.

use ndarray::Array1;
use oscillink_lattice::signature::{
    ALGORITHM, Mode, Required, SignedPayload, Value, VerifyError, extended_payload,
    minimal_payload, sign, sign_extended, sign_minimal, to_canonical_json, verify,
};
use oscillink_lattice::{
    Chain, Lambdas, Params, Plan, Problem, Receipt, ReceiptOptions, Unobserved, solve,
};

use crate::data::{gaussian, params, query, solve_with};

const SECRET: &[u8] = b"a secret";
const ANYTHING: Required = Required {
    mode: None,
    sig_v: None,
};

fn receipt() -> Receipt {
    let plan = Plan {
        receipt: Some(ReceiptOptions::default()),
        ..Plan::default()
    };
    solve_with(&gaussian(30, 6, 1), params(6), &plan)
        .receipt
        .unwrap()
}

fn with(signed: &SignedPayload, key: &str, value: Value) -> SignedPayload {
    let Value::Object(mut members) = signed.payload.clone() else {
        panic!("not an object")
    };
    members.insert(key.to_owned(), value);
    SignedPayload {
        payload: Value::Object(members),
        ..signed.clone()
    }
}

#[test]
fn a_digest_known_from_elsewhere() {
    // hmac.new(b"key", json.dumps({"a": 1.5, "b": [None, "é"]}).encode(), "sha256").hexdigest()
    let payload = Value::object([
        ("a", 1.5.into()),
        ("b", Value::Array(vec![Value::Null, "é".into()])),
    ]);
    let expected = "77e522854fcba53387715c053892bce10ffe371f2dffba05a96d8d34492573b4";
    assert_eq!(sign(payload, b"key").signature, expected);
}

#[test]
fn a_signature_verifies_with_its_secret_only() {
    let signed = sign_minimal(&receipt(), SECRET);
    assert_eq!(signed.algorithm, ALGORITHM);
    assert_eq!(verify(&[SECRET], &signed, ANYTHING), Ok(0));
    assert_eq!(verify(&[b"other", b"", SECRET], &signed, ANYTHING), Ok(2));
    for secrets in [&[][..], &[&b"other"[..]], &[&b""[..]], &[&b"a secret "[..]]] {
        assert_eq!(
            verify(secrets, &signed, ANYTHING),
            Err(VerifyError::Signature)
        );
    }
}

#[test]
fn any_change_breaks_the_signature() {
    let receipt = receipt();
    let signed = sign_minimal(&receipt, SECRET);
    let refused = |signed: &SignedPayload| verify(&[SECRET], signed, ANYTHING).unwrap_err();
    let nudged = f64::from_bits(receipt.delta_h_total.to_bits() + 1);
    assert_eq!(
        refused(&with(&signed, "deltaH_total", nudged.into())),
        VerifyError::Signature
    );
    assert_eq!(
        refused(&with(&signed, "mode", "extended".into())),
        VerifyError::Signature
    );
    assert_eq!(
        refused(&with(&signed, "sig_v", 1.0.into())),
        VerifyError::Signature
    );
    assert_eq!(
        refused(&with(&signed, "extra", Value::Null)),
        VerifyError::Signature
    );
    let renamed = SignedPayload {
        algorithm: "HMAC-SHA1".to_owned(),
        ..signed.clone()
    };
    assert_eq!(refused(&renamed), VerifyError::Algorithm);
    let mut signatures = vec![String::new(), signed.signature.to_uppercase()];
    signatures.push(signed.signature[..62].to_owned());
    signatures.push(format!("{}0", signed.signature));
    signatures.push("é".repeat(32));
    for signature in signatures {
        let broken = SignedPayload {
            signature,
            ..signed.clone()
        };
        assert_eq!(refused(&broken), VerifyError::Signature);
    }
}

#[test]
fn mode_and_version_can_be_required() {
    let receipt = receipt();
    let minimal = sign_minimal(&receipt, SECRET);
    let extended = sign_extended(&receipt, &params(6), 6, SECRET);
    let required = |mode, sig_v| Required { mode, sig_v };
    let check = |signed, required| verify(&[SECRET], signed, required);
    for (signed, own, other) in [
        (&minimal, Mode::Minimal, Mode::Extended),
        (&extended, Mode::Extended, Mode::Minimal),
    ] {
        assert_eq!(check(signed, required(Some(own), Some(1))), Ok(0));
        assert_eq!(
            check(signed, required(Some(other), None)),
            Err(VerifyError::Mode)
        );
        assert_eq!(
            check(signed, required(None, Some(2))),
            Err(VerifyError::Version)
        );
    }
    // A forged mode is a bad signature, not a wrong mode.
    let forged = with(&minimal, "mode", "extended".into());
    let wanted = required(Some(Mode::Extended), None);
    assert_eq!(check(&forged, wanted), Err(VerifyError::Signature));
}

#[test]
fn payloads_hold_what_the_contract_lists() {
    let receipt = receipt();
    let keys = |value: &Value| match value {
        Value::Object(members) => members.keys().cloned().collect::<Vec<_>>().join(" "),
        _ => panic!("not an object"),
    };
    assert_eq!(
        keys(&minimal_payload(&receipt)),
        "deltaH_total mode sig_v state_sig"
    );
    let extended = extended_payload(&receipt, &params(6), 6);
    assert_eq!(
        keys(&extended),
        "deltaH_total graph mode params sig_v state_sig ustar_converged ustar_iters ustar_res"
    );
    let weights = to_canonical_json(extended.get("params").unwrap());
    assert_eq!(
        weights,
        r#"{"lamC": 0.5, "lamG": 1.0, "lamP": 0.0, "lamQ": 4.0}"#
    );
}

#[test]
fn the_state_signature_sees_every_input_that_matters() {
    let y = gaussian(24, 5, 2);
    let psi = query(&y);
    let signature = |psi: &Array1<f32>, gates: Option<f32>, chain: Option<Vec<usize>>, params| {
        let gates = gates.map(|gate| Array1::from_elem(24, gate));
        let chain = chain.map(|nodes| Chain::new(nodes, None).unwrap());
        let gates = gates.as_ref().map(|gates| gates.view());
        let problem =
            Problem::new(y.view(), Some(psi.view()), gates, chain.as_ref(), params).unwrap();
        solve(&problem, &Plan::default(), &Unobserved)
            .unwrap()
            .state_sig
    };
    let lam = |lambdas| Params::new(6, lambdas).unwrap();
    let plain = signature(&psi, None, None, params(6));
    assert_eq!(plain.len(), 64);
    assert_eq!(
        plain,
        signature(&psi, Some(1.0), None, params(6)),
        "gates default to ones"
    );
    assert_eq!(
        plain,
        signature(&(&psi + 1e-9), None, None, params(6)),
        "below six decimals"
    );
    let different = [
        signature(&(&psi + 1e-3), None, None, params(6)),
        signature(&psi, Some(0.5), None, params(6)),
        signature(&psi, None, Some(vec![0, 1]), params(6)),
        signature(&psi, None, Some(vec![0, 1, 2]), params(6)),
        signature(&psi, None, None, params(5)),
        signature(
            &psi,
            None,
            None,
            lam(Lambdas {
                g: 1.1,
                ..Lambdas::default()
            }),
        ),
        signature(
            &psi,
            None,
            None,
            lam(Lambdas {
                c: 0.6,
                ..Lambdas::default()
            }),
        ),
        signature(
            &psi,
            None,
            None,
            lam(Lambdas {
                q: 4.1,
                ..Lambdas::default()
            }),
        ),
        signature(
            &psi,
            None,
            None,
            lam(Lambdas {
                p: 0.1,
                ..Lambdas::default()
            }),
        ),
    ];
    for (index, other) in different.iter().enumerate() {
        assert_ne!(&plain, other, "change {index} is not seen");
        assert!(
            !different[..index].contains(other),
            "change {index} repeats another"
        );
    }
}
