//! Every way a request can be wrong names the field that is.

#![allow(
    clippy::unwrap_used,
    reason = "tests state their expectations with unwrap"
)]

use std::io::Write;

use oscillink_wire::{
    ContentEncoding, Counted, Format, Operation, Parameters, SizeLimits, WireError, decode_limited,
    parse,
};

const LIMITS: SizeLimits = SizeLimits {
    max_nodes: 10,
    max_dim: 6,
    max_decompressed_bytes: 4_096,
};

fn errors(format: Format, body: &[u8], parameters: Parameters) -> Vec<(String, String)> {
    match parse(format, body, parameters, &LIMITS) {
        Err(WireError::BadRequest { errors }) => {
            errors.into_iter().map(|e| (e.field, e.detail)).collect()
        }
        other => panic!("expected field errors, got {other:?}"),
    }
}

fn json_errors(body: &str) -> Vec<(String, String)> {
    errors(Format::Json, body.as_bytes(), Parameters::new())
}

#[test]
fn json_faults_are_named() {
    let with = |rest: &str| format!(r#"{{"Y": [[1, 2], [3, 4], [5, 6]], {rest}}}"#);
    let table = [
        (String::new(), "body", "ends early"),
        ("[1]".into(), "body", "object"),
        ("{".into(), "body", "ends early"),
        ("{} x".into(), "body", "goes on at line 1 column 4"),
        ("\u{0}".into(), "body", "not JSON"),
        ("{}".into(), "Y", "required"),
        (r#"{"Y": null}"#.into(), "Y", "required"),
        (r#"{"Y": []}"#.into(), "Y", "empty"),
        (r#"{"Y": [[], []]}"#.into(), "Y", "empty"),
        (r#"{"Y": 7}"#.into(), "Y", "list of rows"),
        (r#"{"Y": "text"}"#.into(), "Y", "list of rows"),
        (r#"{"Y": [1, 2]}"#.into(), "Y[0]", "list of numbers"),
        (r#"{"Y": [[1, 2], null]}"#.into(), "Y[1]", "list of numbers"),
        (
            r#"{"Y": [[1, 2], [3]]}"#.into(),
            "Y[1]",
            "has 1 entries, row 0 has 2",
        ),
        (
            r#"{"Y": [[1, 2], [3, 4, 5]]}"#.into(),
            "Y[1]",
            "has 3 entries",
        ),
        (r#"{"Y": [[1, 2], [3, "x"]]}"#.into(), "Y[1][1]", "a number"),
        (
            r#"{"Y": [[1, 2], [3, true]]}"#.into(),
            "Y[1][1]",
            "a number",
        ),
        (r#"{"Y": [[1, 2], [3, [4]]]}"#.into(), "Y[1][1]", "a number"),
        (
            r#"{"Y": [[1, 2], [NaN, 4]]}"#.into(),
            "Y[1][0]",
            "not finite",
        ),
        (r#"{"Y": [[1, Infinity]]}"#.into(), "Y[0][1]", "not finite"),
        (r#"{"Y": [[-Infinity, 1]]}"#.into(), "Y[0][0]", "not finite"),
        (r#"{"Y": [[1, 1e400]]}"#.into(), "Y[0][1]", "not finite"),
        (r#"{"Y": [[1, 1e39]]}"#.into(), "Y[0][1]", "not finite"),
        (r#"{"Y": [[1, -1e20]]}"#.into(), "Y[0][1]", "square"),
        (r#"{"Y": [[1, 2]], "Y": [[1, 2]]}"#.into(), "Y", "twice"),
        (with(r#""lamX": 1"#), "lamX", "not a field"),
        (with(r#""psi_row": 1"#), "psi_row", "not a field"),
        (
            with(r#""params": {"lamX": 1}"#),
            "params.lamX",
            "not a field; expected one of kneighbors",
        ),
        (
            with(r#""params": {"lamG": 1, "lamG": 1}"#),
            "params.lamG",
            "twice",
        ),
        (with(r#""params": [1]"#), "params", "an object"),
        (
            with(r#""params": {"lamG": "1"}"#),
            "params.lamG",
            "must be a number, got a string",
        ),
        (
            with(r#""params": {"kneighbors": 1000001}"#),
            "params.kneighbors",
            "must be at most 1000000",
        ),
        (
            with(r#""diffusion": {"kneighbors": 9223372036854775808}"#),
            "diffusion.kneighbors",
            "must be at most 1000000",
        ),
        (
            with(r#""params": {"lamG": NaN}"#),
            "params.lamG",
            "not finite",
        ),
        (
            with(r#""params": {"lamG": 1e999}"#),
            "params.lamG",
            "finite",
        ),
        (
            with(r#""params": {"lamG": 0}"#),
            "params.lamG",
            "greater than 0",
        ),
        (with(r#""params": {"lamC": -1}"#), "params.lamC", "negative"),
        (
            with(r#""params": {"kneighbors": 0}"#),
            "params.kneighbors",
            "at least 1",
        ),
        (
            with(r#""params": {"kneighbors": 1.5}"#),
            "params.kneighbors",
            "whole number",
        ),
        (
            with(r#""params": {"kneighbors": -1}"#),
            "params.kneighbors",
            "whole number",
        ),
        (
            with(r#""params": {"kneighbors": [[1]]}"#),
            "params.kneighbors",
            "got a list",
        ),
        (
            with(r#""params": {"neighbor_seed": 1e30}"#),
            "params.neighbor_seed",
            "whole",
        ),
        (
            with(r#""params": {"deterministic_k": 1}"#),
            "params.deterministic_k",
            "true or false",
        ),
        (
            with(r#""options": {"dt": 0}"#),
            "options.dt",
            "greater than 0",
        ),
        (
            with(r#""options": {"tol": -1}"#),
            "options.tol",
            "greater than 0",
        ),
        (
            with(r#""options": {"max_iters": 0}"#),
            "options.max_iters",
            "at least 1",
        ),
        (
            with(r#""options": {"max_iters": 10001}"#),
            "options.max_iters",
            "at most 10000",
        ),
        (
            with(r#""options": {"bundle_k": -1}"#),
            "options.bundle_k",
            "whole number",
        ),
        (
            with(r#""options": {"receipt_detail": "fat"}"#),
            "options.receipt_detail",
            "full or light",
        ),
        (
            with(r#""options": {"signature_mode": 1}"#),
            "options.signature_mode",
            "a string",
        ),
        (
            with(r#""options": {"array": "psi"}"#),
            "options.array",
            "ustar, u or gates",
        ),
        (
            with(r#""options": {"array": ["u", 3]}"#),
            "options.array",
            "a string",
        ),
        (
            with(r#""diffusion": {"gamma": 0}"#),
            "diffusion.gamma",
            "greater than 0",
        ),
        (
            with(r#""diffusion": {"enable": false, "gamma": 0}"#),
            "diffusion.gamma",
            "greater",
        ),
        (
            with(r#""diffusion": {"kneighbors": 0}"#),
            "diffusion.kneighbors",
            "at least 1",
        ),
        (with(r#""diffusion": true"#), "diffusion", "an object"),
        (
            with(r#""diffusion": {}, "gates": [1, 1, 1]"#),
            "gates",
            "diffusion",
        ),
        (
            with(r#""psi": [1]"#),
            "psi",
            "has 1 entries, Y has 2 columns",
        ),
        (with(r#""psi": [1, "2"]"#), "psi[1]", "a number"),
        (with(r#""psi": [1, 1e30]"#), "psi[1]", "square"),
        (
            with(r#""gates": [1, 1]"#),
            "gates",
            "has 2 entries, Y has 3 rows",
        ),
        (with(r#""gates": [1, -1, 1]"#), "gates[1]", "negative"),
        (with(r#""chain": [1]"#), "chain", "at least 2"),
        (with(r#""chain": [0, 3]"#), "chain", "out of range"),
        (with(r#""chain": [0, 0]"#), "chain", "next to itself"),
        (with(r#""chain": [0, 1.5]"#), "chain[1]", "row index"),
        (with(r#""chain": [0, -1]"#), "chain[1]", "row index"),
        (
            with(r#""chain_weights": [1]"#),
            "chain_weights",
            "needs a chain",
        ),
        (
            with(r#""chain": [0, 1], "chain_weights": [1, 1]"#),
            "chain_weights",
            "1 steps",
        ),
        (
            with(r#""chain": [0, 1], "chain_weights": [-1]"#),
            "chain_weights[0]",
            "negative",
        ),
        (with(r#""custom_id": """#), "custom_id", "1 to 200"),
        (with(r#""callback_url": 5"#), "callback_url", "a string"),
    ];
    for (body, field, detail) in table {
        let errors = json_errors(&body);
        assert_eq!(errors[0].0, field, "{body}: {errors:?}");
        assert!(errors[0].1.contains(detail), "{body}: {errors:?}");
    }
}

#[test]
fn independent_faults_are_reported_together() {
    let body = r#"{"Y": [[1]], "params": {"lamG": 0}, "options": {"dt": 0}, "chain": [0]}"#;
    let errors = json_errors(body);
    let fields: Vec<&str> = errors.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["params.lamG", "options.dt", "chain"]);
}

#[test]
fn depth_and_length_cannot_hurt() {
    let deep = "[".repeat(100_000);
    for body in [
        deep.clone(),
        format!(r#"{{"Y": {deep}"#),
        format!(r#"{{"Y": [[1]], "params": {{"lamG": {deep}"#),
        format!(
            r#"{{"Y": [[1]], "options": {{"array": {deep}{}}}}}"#,
            "]".repeat(100_000)
        ),
        format!(r#"{{"Y": [[1]], "x{deep}": 1}}"#),
        format!(r#"{{"Y": "{}"}}"#, "x".repeat(100_000)),
        format!(r#"{{"Y": [[1, {}]]}}"#, "9".repeat(100_000)),
    ] {
        for (field, detail) in json_errors(&body) {
            assert!(field.len() < 300 && detail.len() < 300, "{}", field.len());
        }
    }
}

#[test]
fn size_limits_stop_the_parse() {
    let rows = |n: usize| format!("[{}]", vec!["[1,2]"; n].join(","));
    let over = |body: String| match parse(Format::Json, body.as_bytes(), Parameters::new(), &LIMITS)
    {
        Err(WireError::TooLarge {
            field,
            counted,
            limit,
        }) => (field, counted, limit),
        other => panic!("expected too large, got {other:?}"),
    };
    // The body is not even complete: nothing behind the eleventh row is looked at.
    let cut = format!(r#"{{"Y": {}"#, rows(11).trim_end_matches(']'));
    assert_eq!(
        over(format!("{cut}], oops")),
        ("Y".into(), Counted::Rows, 10)
    );
    assert_eq!(
        over(r#"{"Y": [[1,2,3,4,5,6,7"#.into()),
        ("Y".into(), Counted::Columns, 6)
    );
    assert_eq!(
        over(r#"{"psi": [1,2,3,4,5,6,7"#.into()),
        ("psi".into(), Counted::Columns, 6)
    );
    let gates = ["1"; 11].join(",");
    assert_eq!(
        over(format!(r#"{{"gates": [{gates}"#)),
        ("gates".into(), Counted::Rows, 10)
    );
    parse(
        Format::Json,
        format!(r#"{{"Y": {}}}"#, rows(10)).as_bytes(),
        Parameters::new(),
        &LIMITS,
    )
    .unwrap();
}

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn f4(shape: &str, data: &[u8]) -> Vec<u8> {
    npy(
        &format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"),
        data,
    )
}

fn npz(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn npy_faults_are_named() {
    let nan = [1_f32, f32::NAN].map(f32::to_le_bytes).concat();
    let table = [
        (b"\x93NUMPY".to_vec(), "cut short"),
        (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "version 9"),
        (f4("(2, 2)", &[0; 15]), "cut short"),
        (f4("(2, 2)", &[0; 17]), "bytes behind"),
        (f4("(4,)", &[0; 16]), "1 dimensions"),
        (f4("()", &[0; 4]), "0 dimensions"),
        (f4("(1, 2, 2)", &[0; 16]), "3 dimensions"),
        (f4("(0, 4)", &[]), "empty"),
        (f4("(4, 0)", &[]), "empty"),
        (
            npy(
                "{'descr': '|O', 'fortran_order': False, 'shape': (1, 1)}",
                b"x",
            ),
            "dtype",
        ),
        (
            npy(
                "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 1)}",
                &[0; 4],
            ),
            "i4",
        ),
        (
            npy(
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
                &[0; 4],
            ),
            "struct",
        ),
    ];
    for (body, detail) in table {
        let errors = errors(Format::Npy, &body, Parameters::new());
        assert_eq!(errors[0].0, "Y");
        assert!(errors[0].1.contains(detail), "{detail}: {errors:?}");
    }
    assert_eq!(
        errors(Format::Npy, &f4("(1, 2)", &nan), Parameters::new())[0].0,
        "Y[0][1]"
    );
    for shape in [
        "(1000000000000000000, 4)",
        "(99999999999999999999999, 1)",
        "(1, 7)",
    ] {
        let outcome = parse(Format::Npy, &f4(shape, &[]), Parameters::new(), &LIMITS);
        assert!(
            matches!(outcome, Err(WireError::TooLarge { .. })),
            "{shape}: {outcome:?}"
        );
    }
    let unlimited = f4("(4000000000, 4000000000)", &[]);
    let outcome = parse(
        Format::Npy,
        &unlimited,
        Parameters::new(),
        &SizeLimits::NONE,
    );
    assert!(
        matches!(outcome, Err(WireError::BadRequest { .. })),
        "{outcome:?}"
    );
}

#[test]
fn npz_faults_are_named() {
    let y = || f4("(2, 2)", &[0; 16]);
    let table = [
        (b"PK\x03\x04 and no more".to_vec(), "body"),
        (npz(&[("X.npy", y())]), "X"),
        (npz(&[("psi.npy", f4("(2,)", &[0; 8]))]), "Y"),
        (npz(&[("Y.npy", y()), ("psi.npy", y())]), "psi"),
        (
            npz(&[("Y.npy", y()), ("chain.npy", f4("(2,)", &[0; 8]))]),
            "chain",
        ),
        (npz(&[("Y.npy", y()), ("Y", y())]), "Y"),
        (npz(&[("Y.npy", b"plain text".to_vec())]), "Y"),
    ];
    for (body, field) in table {
        let errors = errors(Format::Npz, &body, Parameters::new());
        assert_eq!(errors[0].0, field, "{errors:?}");
    }
}

#[test]
fn compressed_bombs_are_not_unfolded() {
    let zeros = vec![0; 50_000_000];
    let bomb = npz(&[("Y.npy", f4("(2, 2)", &zeros))]);
    assert!(bomb.len() < 100_000);
    let outcome = parse(Format::Npz, &bomb, Parameters::new(), &LIMITS);
    let limit = WireError::TooLarge {
        field: "body".into(),
        counted: Counted::Bytes,
        limit: 4_096,
    };
    assert_eq!(outcome, Err(limit.clone()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&zeros).unwrap();
    let gzip = gzip.finish().unwrap();
    assert_eq!(
        decode_limited(ContentEncoding::Gzip, &gzip, 4_096),
        Err(limit.clone())
    );
    assert_eq!(
        decode_limited(ContentEncoding::Gzip, &gzip, 50_000_000).unwrap(),
        zeros
    );
    let zstd = ruzstd::encoding::compress_to_vec(
        zeros.as_slice(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    assert_eq!(
        decode_limited(ContentEncoding::Zstd, &zstd, 4_096),
        Err(limit)
    );
    assert_eq!(
        decode_limited(ContentEncoding::Zstd, &zstd, 50_000_000).unwrap(),
        zeros
    );
    for (encoding, bytes) in [
        (ContentEncoding::Gzip, &gzip[..gzip.len() / 2]),
        (ContentEncoding::Zstd, &zstd[..zstd.len() / 2]),
        (ContentEncoding::Gzip, b"plain".as_slice()),
        (ContentEncoding::Zstd, b"plain".as_slice()),
    ] {
        let outcome = decode_limited(encoding, bytes, 100_000_000);
        assert!(
            matches!(outcome, Err(WireError::BadRequest { .. })),
            "{encoding:?}"
        );
    }
}

#[test]
fn parameters_are_as_strict_as_the_body() {
    let y = f4("(2, 2)", &[0; 16]);
    let query = |pairs: &[(&str, &str)]| Parameters::from_query(pairs.iter().copied());
    for (pairs, field) in [
        (&[("lamX", "1")][..], "lamX"),
        (&[("params.beta", "1")], "params.beta"),
        (&[("a.b.c", "1")], "a.b.c"),
        (&[("kneighbors", "x")], "params.kneighbors"),
        (
            &[("kneighbors", "2"), ("params.kneighbors", "3")],
            "params.kneighbors",
        ),
        (&[("lamG", "nan")], "params.lamG"),
        (&[("lamG", "inf")], "params.lamG"),
        (&[("gamma", "0")], "diffusion.gamma"),
        (&[("diffusion", "yes")], "diffusion"),
        (&[("psi_row", "2")], "psi_row"),
        (&[("psi_row", "-1")], "psi_row"),
        (&[("Y", "1")], "Y"),
    ] {
        let errors = errors(Format::Npy, &y, query(pairs));
        assert_eq!(errors[0].0, field, "{errors:?}");
    }
    let document = |text: &str| {
        let mut parameters = Parameters::new();
        parameters.set_document(text.into());
        parameters
    };
    for (text, field) in [
        (r#"{"Y": [[1]]}"#, "Y"),
        (r#"{"kneighbors": 2, "params": {"lamG": 0}}"#, "params.lamG"),
        (
            r#"{"kneighbors": 2, "params.kneighbors": 2}"#,
            "params.kneighbors",
        ),
        (r#"{"lamX": 1}"#, "lamX"),
        ("", "body"),
    ] {
        assert_eq!(
            errors(Format::Npy, &y, document(text))[0].0,
            field,
            "{text}"
        );
    }
    let both = errors(Format::Json, br#"{"Y": [[1]]}"#, document("{}"));
    assert_eq!(both[0].0, "params");
}

#[test]
fn a_chain_receipt_needs_a_chain() {
    let body = parse(Format::Json, br#"{"Y": [[1]]}"#, Parameters::new(), &LIMITS).unwrap();
    body.request.check_for(Operation::Settle).unwrap();
    body.request.check_for(Operation::ChainReceipt).unwrap_err();
}
