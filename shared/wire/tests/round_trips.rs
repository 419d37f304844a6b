//! What is written is what is read: payloads, npy, npz, JSON and parameters from elsewhere.

#![allow(
    clippy::unwrap_used,
    reason = "tests state their expectations with unwrap"
)]

use std::io::Write;

use ndarray::{Array1, Array2};
use oscillink_lattice::{ReceiptDetail, Unobserved};
use oscillink_wire::{
    ArrayName, Format, NumberArray, Operation, Parameters, PayloadDecoder, RunContext,
    SignatureMode, SizeLimits, SolveRequest, WireError, decode_payload, encode_payload, npy, parse,
    run,
};
use proptest::prelude::*;

fn parse_json(text: &str) -> SolveRequest {
    parse(
        Format::Json,
        text.as_bytes(),
        Parameters::new(),
        &SizeLimits::NONE,
    )
    .unwrap()
    .request
}

fn query(pairs: &[(&str, &str)]) -> Parameters {
    Parameters::from_query(pairs.iter().copied())
}

fn parse_npy(bytes: &[u8], parameters: Parameters) -> SolveRequest {
    parse(Format::sniff(bytes), bytes, parameters, &SizeLimits::NONE)
        .unwrap()
        .request
}

fn matrix_bytes(y: &Array2<f32>) -> Vec<u8> {
    npy::write(&NumberArray::Matrix(y.clone()))
}

const FULL: &str = r#"{
    "Y": [[1, 2, 3], [3, 2.5, 1], [-1e-3, 0, 2], [0.1, 0.2, 0.3]],
    "psi": [1, 0.30000000000000004, -0.0],
    "chain": [0, 2, 3, 2], "chain_weights": [1, 0.5, 0],
    "params": {"kneighbors": 2, "lamG": 0.30000000000000004, "lamC": 1e-7, "lamQ": 0, "lamP": 3,
               "deterministic_k": true, "neighbor_seed": -9223372036854775808},
    "options": {"dt": 0.1, "max_iters": 7, "tol": 1e-5, "bundle_k": 3, "include_receipt": false,
                "receipt_detail": "light", "signature_mode": "extended", "array": ["gates", "u"]},
    "diffusion": {"beta": 2.5, "gamma": 0.123456789012345678, "kneighbors": 1, "neighbor_seed": 5,
                  "deterministic_k": true, "reuse_lattice_graph": true}
}"#;

#[test]
fn a_payload_keeps_every_field_and_bit() {
    let request = parse_json(FULL);
    assert_eq!(request.params().lambdas().g, 0.300_000_000_000_000_04);
    assert_eq!(request.answer().receipt_detail, ReceiptDetail::Light);
    assert_eq!(request.answer().signature_mode, SignatureMode::Extended);
    let payload = encode_payload(&request);
    assert_eq!(decode_payload(&payload).unwrap(), request);
    let other = parse_json(r#"{"Y": [[1], [2]], "gates": [0, 0.5], "diffusion": null}"#);
    assert_eq!(decode_payload(&encode_payload(&other)).unwrap(), other);
}

#[test]
fn a_damaged_payload_is_an_error() {
    let payload = encode_payload(&parse_json(FULL)).to_vec();
    for length in 0..payload.len() {
        assert!(decode_payload(&payload[..length]).is_err(), "{length}");
    }
    let longer = [payload.as_slice(), &[0]].concat();
    assert!(decode_payload(&longer).is_err());
    // Sizes that overflow when multiplied or rounded up.
    for (at, number) in [
        (24, u64::MAX),
        (32, u64::MAX),
        (32, 1 << 62),
        (48, u64::MAX - 3),
    ] {
        let mut damaged = payload.clone();
        damaged[at..at + 8].copy_from_slice(&number.to_le_bytes());
        assert!(decode_payload(&damaged).is_err(), "{at} {number}");
    }
}

#[test]
fn every_npy_form_of_a_matrix_is_the_same_request() {
    let json = parse_json(r#"{"Y": [[1, 2, 3], [4, -5.5, 0.25]]}"#);
    let values: [f64; 6] = [1.0, 2.0, 3.0, 4.0, -5.5, 0.25];
    let columns_first: [f64; 6] = [1.0, 4.0, 2.0, -5.5, 3.0, 0.25];
    let halves: [u16; 6] = [0x3c00, 0x4000, 0x4200, 0x4400, 0xc580, 0x3400];
    let bytes = |values: &[f64; 6], write: fn(f64) -> Vec<u8>| -> Vec<u8> {
        values.iter().flat_map(|v| write(*v)).collect()
    };
    let forms = [
        (
            "<f4",
            "False",
            bytes(&values, |v| (v as f32).to_le_bytes().into()),
        ),
        (
            ">f4",
            "False",
            bytes(&values, |v| (v as f32).to_be_bytes().into()),
        ),
        ("<f8", "False", bytes(&values, |v| v.to_le_bytes().into())),
        (
            ">f8",
            "True",
            bytes(&columns_first, |v| v.to_be_bytes().into()),
        ),
        (
            "<f4",
            "True",
            bytes(&columns_first, |v| (v as f32).to_le_bytes().into()),
        ),
        (
            "<f2",
            "False",
            halves.iter().flat_map(|h| h.to_le_bytes()).collect(),
        ),
        (
            ">f2",
            "False",
            halves.iter().flat_map(|h| h.to_be_bytes()).collect(),
        ),
    ];
    for (descr, fortran, data) in forms {
        for version in [1, 2, 3] {
            let header =
                format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': (2, 3), }}");
            let mut npy = b"\x93NUMPY".to_vec();
            npy.extend([version, 0]);
            match version {
                1 => npy.extend((header.len() as u16).to_le_bytes()),
                _ => npy.extend((header.len() as u32).to_le_bytes()),
            }
            npy.extend(header.as_bytes());
            npy.extend(&data);
            assert_eq!(
                parse_npy(&npy, Parameters::new()),
                json,
                "{descr} {fortran} {version}"
            );
        }
    }
}

#[test]
fn npz_with_parameters_equals_json() {
    let json = parse_json(
        r#"{"Y": [[1, 2], [3, 4], [5, 6]], "psi": [1, 0], "chain": [2, 0, 1],
            "chain_weights": [0.5, 1], "params": {"kneighbors": 2, "lamP": 0.5},
            "options": {"bundle_k": 2, "include_receipt": false, "array": ["ustar", "u"]},
            "diffusion": {"gamma": 0.5, "kneighbors": 1}}"#,
    );
    let vector = |v: Vec<f32>| npy::write(&NumberArray::Vector(Array1::from_vec(v)));
    let chain = {
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        let header = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }\n";
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend([2_i64, 0, 1].iter().flat_map(|i| i.to_le_bytes()));
        out
    };
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("chain.npy", chain),
        ("Y.npy", matrix_bytes(&json.y().to_owned())),
        ("psi.npy", vector(vec![1.0, 0.0])),
        ("chain_weights.npy", vector(vec![0.5, 1.0])),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(&bytes).unwrap();
    }
    let npz = zip.finish().unwrap().into_inner();
    let pairs = [
        ("kneighbors", "2"),
        ("params.lamP", "0.5"),
        ("bundle_k", "2"),
        ("include_receipt", "false"),
        ("options.array", "u,ustar"),
        ("diffusion", "true"),
        ("gamma", "5e-1"),
        ("diffusion.kneighbors", "1"),
    ];
    assert_eq!(parse_npy(&npz, query(&pairs)), json);
    for document in [
        r#"{"kneighbors": 2, "lamP": 0.5, "bundle_k": 2, "include_receipt": false,
            "array": ["u", "ustar"], "gamma": 0.5, "diffusion.kneighbors": 1}"#,
        r#"{"params": {"kneighbors": 2, "lamP": 0.5}, "options": {"bundle_k": 2,
            "include_receipt": false, "array": ["u", "ustar"]},
            "diffusion": {"gamma": 0.5, "kneighbors": 1}}"#,
    ] {
        let mut parameters = Parameters::new();
        parameters.set_document(document.into());
        assert_eq!(parse_npy(&npz, parameters), json);
    }
}

#[test]
fn whole_numbers_may_be_written_as_doubles() {
    let request = |k: &str, seed: &str| {
        let params = format!(r#"{{"kneighbors": {k}, "neighbor_seed": {seed}}}"#);
        parse_json(&format!(r#"{{"Y": [[1, 2], [3, 4]], "params": {params}}}"#))
    };
    assert_eq!(request("2.0", "-7e0"), request("2", "-7"));
    // Integers beyond what doubles tell apart stay exact.
    let seed = i64::MIN + 1;
    assert_eq!(
        request("1", &seed.to_string()).params().neighbor_seed(),
        Some(seed)
    );
}

#[test]
fn null_stands_for_what_is_left_out_beside_an_array_as_in_json() {
    let npy = matrix_bytes(&ndarray::array![[1.0_f32, 2.0], [3.0, 4.0]]);
    let mut parameters = Parameters::new();
    let document =
        r#"{"psi": null, "gates": null, "params": null, "options": null, "diffusion": null}"#;
    parameters.set_document(document.into());
    assert_eq!(parse_npy(&npy, parameters), parse_npy(&npy, query(&[])));
}

#[test]
fn null_stands_for_what_is_left_out_within_every_block() {
    let params = r#"{"kneighbors": null, "lamG": null, "lamC": null, "lamQ": null, "lamP": null,
        "deterministic_k": null, "neighbor_seed": null}"#;
    let options = r#"{"dt": null, "max_iters": null, "tol": null, "bundle_k": null,
        "include_receipt": null, "receipt_detail": null, "signature_mode": null, "array": null}"#;
    let diffusion = r#"{"enable": null, "beta": null, "gamma": null, "kneighbors": null,
        "deterministic_k": null, "neighbor_seed": null, "reuse_lattice_graph": null}"#;
    let blocks = format!(r#""params": {params}, "options": {options}, "diffusion": {diffusion}"#);
    let nulls = parse_json(&format!(r#"{{"Y": [[1, 2], [3, 4]], {blocks}}}"#));
    assert_eq!(
        nulls,
        parse_json(r#"{"Y": [[1, 2], [3, 4]], "diffusion": {}}"#)
    );
    let npy = matrix_bytes(&ndarray::array![[1.0_f32, 2.0], [3.0, 4.0]]);
    let mut parameters = Parameters::new();
    parameters.set_document(format!("{{{blocks}}}").into());
    assert_eq!(parse_npy(&npy, parameters), nulls);
    // Beside the array, where names may stand by themselves, null switches nothing on.
    let mut parameters = Parameters::new();
    let bare = r#"{"lamG": null, "tol": null, "psi_row": null, "gamma": null, "custom_id": null}"#;
    parameters.set_document(bare.into());
    assert_eq!(parse_npy(&npy, parameters), parse_npy(&npy, query(&[])));
}

#[test]
fn a_row_of_y_can_be_the_query_and_parameters_stand_above_json() {
    let y = ndarray::array![[1.0_f32, 2.0], [3.0, 4.0]];
    let request = parse_npy(
        &matrix_bytes(&y),
        query(&[("psi_row", "1"), ("diffusion", "false")]),
    );
    assert_eq!(request.psi().unwrap().to_vec(), [3.0, 4.0]);
    assert!(!request.wants_diffusion());
    let body =
        br#"{"Y": [[1], [2]], "params": {"lamQ": 1}, "callback_url": "https://a.example/b"}"#;
    let parameters = query(&[("lamQ", "2"), ("custom_id", "12,3")]);
    let body = parse(Format::Json, body, parameters, &SizeLimits::NONE).unwrap();
    assert_eq!(body.request.params().lambdas().q, 2.0);
    assert_eq!(body.custom_id.as_deref(), Some("12,3"));
    assert_eq!(body.callback_url.as_deref(), Some("https://a.example/b"));
}

#[test]
fn each_operation_answers_with_its_own_parts() {
    let body = r#"{"Y": [[1, 0], [0.9, 0.1], [0.8, 0.3], [0, 1]], "psi": [1, 0],
                   "chain": [0, 1, 2], "options": {"bundle_k": 2}}"#;
    let request = parse_json(body);
    let parts = |operation| {
        let output = run(&request, operation, &RunContext::default(), &Unobserved).unwrap();
        let answer = output.answer;
        let bundle = answer.bundle.map_or(0, |b| b.len());
        (
            answer.receipt.is_some(),
            bundle,
            answer.chain_receipt.is_some(),
        )
    };
    assert_eq!(parts(Operation::Settle), (true, 2, true));
    assert_eq!(parts(Operation::Diffusion), (true, 2, true));
    assert_eq!(parts(Operation::Receipt), (true, 0, false));
    assert_eq!(parts(Operation::Bundle), (false, 2, false));
    assert_eq!(parts(Operation::ChainReceipt), (false, 0, true));
    let as_job = |text, operation| {
        let request = parse_json(text).with_parts_of(operation);
        let output = run(
            &request,
            Operation::Settle,
            &RunContext::default(),
            &Unobserved,
        );
        let answer = output.unwrap().answer;
        (answer.receipt.is_some(), answer.bundle.map(|b| b.len()))
    };
    let plain = r#"{"Y": [[1, 0], [0.9, 0.1], [0.8, 0.3], [0, 1]], "psi": [1, 0],
                    "options": {"include_receipt": false}}"#;
    assert_eq!(as_job(body, Operation::Settle), (true, Some(2)));
    assert_eq!(as_job(body, Operation::Receipt), (true, None));
    assert_eq!(as_job(plain, Operation::Receipt), (true, None));
    assert_eq!(as_job(body, Operation::Bundle), (false, Some(2)));
    assert_eq!(as_job(plain, Operation::Bundle), (false, Some(4)));
    let plain =
        parse_json(r#"{"Y": [[1], [2]], "options": {"include_receipt": false, "array": "u"}}"#);
    let output = run(
        &plain,
        Operation::Settle,
        &RunContext::default(),
        &Unobserved,
    )
    .unwrap();
    assert!(output.answer.receipt.is_none() && output.answer.bundle.is_none());
    assert_eq!(output.arrays.keys().collect::<Vec<_>>(), [&ArrayName::U]);
    let bundle = run(
        &plain,
        Operation::Bundle,
        &RunContext::default(),
        &Unobserved,
    )
    .unwrap();
    assert_eq!(
        bundle.answer.bundle.map(|b| b.len()),
        Some(2),
        "five, but no more than there are"
    );
}

fn request() -> impl Strategy<Value = String> {
    let y = (1..9_usize, 1..7_usize).prop_flat_map(|(n, d)| {
        let row = proptest::collection::vec(-1e6_f32..1e6, d);
        let gates = proptest::option::of(proptest::collection::vec(0_f32..2.0, n));
        let psi = proptest::option::of(proptest::collection::vec(-1e3_f32..1e3, d));
        (proptest::collection::vec(row, n), psi, gates)
    });
    let numbers = (1e-3..1e3, 0.0..1e3, any::<i64>(), 1..20_usize);
    (y, numbers).prop_map(|((y, psi, gates), (g, c, seed, k))| {
        serde_json::json!({
            "Y": y, "psi": psi, "gates": gates,
            "params": {"lamG": g, "lamC": c, "neighbor_seed": seed, "kneighbors": k},
        })
        .to_string()
    })
}

proptest! {
    #[test]
    fn payloads_round_trip(text in request()) {
        let request = parse_json(&text);
        prop_assert_eq!(decode_payload(&encode_payload(&request)).unwrap(), request);
    }

    #[test]
    fn payloads_may_come_in_pieces(
        text in request(),
        pieces in proptest::collection::vec(1_usize..90, 1..40),
    ) {
        let request = parse_json(&text);
        let payload = encode_payload(&request);
        let mut decoder = PayloadDecoder::new(payload.len());
        let mut rest = payload.as_ref();
        for piece in pieces.iter().cycle() {
            let (piece, others) = rest.split_at((*piece).min(rest.len()));
            decoder.push(piece);
            rest = others;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoder.finish().unwrap(), request);
    }

    #[test]
    fn npy_round_trips(text in request()) {
        let request = parse_json(&text);
        let read = parse_npy(&matrix_bytes(&request.y().to_owned()), Parameters::new());
        prop_assert_eq!(read.y(), request.y());
    }

    #[test]
    fn hostile_bytes_never_panic(
        text in request(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let request = parse_json(&text);
        let npy = matrix_bytes(&request.y().to_owned());
        let limits = SizeLimits { max_nodes: 1_000, max_dim: 1_000, max_decompressed_bytes: 1 << 20 };
        for mut bytes in [encode_payload(&request).to_vec(), npy, text.into_bytes(), noise] {
            for (place, byte) in &damage {
                if !bytes.is_empty() {
                    let at = place.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            let _: Result<_, WireError> = decode_payload(&bytes);
            for format in [Format::Json, Format::Npy, Format::Npz] {
                let _ = parse(format, &bytes, Parameters::new(), &limits);
            }
        }
    }
}
