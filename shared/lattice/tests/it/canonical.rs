//! Canonical JSON against what Python's `json.dumps(value, sort_keys=True)` writes.

use oscillink_lattice::signature::{Value, to_canonical_json};
use proptest::prelude::*;

/// Bits of a double and Python's text for it. Several lie halfway between two shortest decimals.
#[rustfmt::skip]
const REPRS: &[(u64, &str)] = &[
    (0x0000000000000000, "0.0"),
    (0x8000000000000000, "-0.0"),
    (0x3ff0000000000000, "1.0"),
    (0xbff0000000000000, "-1.0"),
    (0x3fb999999999999a, "0.1"),
    (0x3fe0000000000000, "0.5"),
    (0x3f1a36e2eb1c432d, "0.0001"),
    (0x3f1a36371ea531a8, "9.999e-05"),
    (0x3ee4f8b588e368f1, "1e-05"),
    (0x3eef75104d551d69, "1.5e-05"),
    (0x3f50624dd2f1a9fc, "0.001"),
    (0x419d6f3454000000, "123456789.0"),
    (0x430c6bf526340000, "1000000000000000.0"),
    (0x4341c37937e07fff, "9999999999999998.0"),
    (0x4341c37937e08000, "1e+16"),
    (0x434aa535d3d0c000, "1.5e+16"),
    (0x4376345785d8a000, "1e+17"),
    (0x4480f0cf064dd592, "1e+22"),
    (0x44b52d02c7e14af6, "1e+23"),
    (0x54b249ad2594c37d, "1e+100"),
    (0x7fefffffffffffff, "1.7976931348623157e+308"),
    (0x0010000000000000, "2.2250738585072014e-308"),
    (0x0000000000000001, "5e-324"),
    (0x3fd5555555555555, "0.3333333333333333"),
    (0x3fe5555555555555, "0.6666666666666666"),
    (0x3fd3333333333334, "0.30000000000000004"),
    (0x4059000000000000, "100.0"),
    (0x3e7ad7f29abcaf48, "1e-07"),
    (0x405edd2f1a9fbe77, "123.456"),
    (0x40792788c0000000, "402.47088623046875"),
    (0x3fb99999a0000000, "0.10000000149011612"),
    (0x4052cb8080000000, "75.17971801757812"),
    (0x408a38ce80000000, "839.100830078125"),
    (0xc087a04120000000, "-756.0317993164062"),
    (0x3eb0000000000000, "9.5367431640625e-07"),
    (0x3e70000000000000, "5.960464477539063e-08"),
    (0x4340000000000000, "9007199254740992.0"),
    (0x4350000000000000, "1.8014398509481984e+16"),
    (0x43b0000000000000, "1.152921504606847e+18"),
    (0x4340000000000000, "9007199254740992.0"),
    (0x4330000000000000, "4503599627370496.0"),
    (0x4330000000000002, "4503599627370498.0"),
    (0x3fd3333340000000, "0.30000001192092896"),
    (0x3810000000000000, "1.1754943508222875e-38"),
    (0x47efffffe0000000, "3.4028234663852886e+38"),
    (0x4021000000000000, "8.5"),
    (0x3fb0000000000000, "0.0625"),
    (0x3eb0c6f7a0b5ed8d, "1e-06"),
    (0x3ec4f8b588e368f1, "2.5e-06"),
    (0x3fce000000000000, "0.234375"),
    (0x3fcdebe9c0000000, "0.2337619960308075"),
];

#[test]
fn floats_are_written_as_python_writes_them() {
    for (bits, text) in REPRS {
        assert_eq!(
            to_canonical_json(&Value::Float(f64::from_bits(*bits))),
            *text
        );
    }
}

#[test]
fn non_finite_floats_are_written_as_python_writes_them() {
    assert_eq!(to_canonical_json(&Value::Float(f64::NAN)), "NaN");
    assert_eq!(to_canonical_json(&Value::Float(f64::INFINITY)), "Infinity");
    assert_eq!(
        to_canonical_json(&Value::Float(f64::NEG_INFINITY)),
        "-Infinity"
    );
}

#[test]
fn keys_are_sorted_and_separators_have_spaces() {
    let value = Value::object([
        (
            "b",
            Value::Array(vec![1_i64.into(), Value::Null, true.into(), false.into()]),
        ),
        ("B", Value::object([("z", 1.0.into()), ("a", "x".into())])),
        ("", Value::Int(i128::from(u64::MAX))),
        ("empty", Value::Array(Vec::new())),
        ("none", Value::object([])),
    ]);
    let text = r#"{"": 18446744073709551615, "B": {"a": "x", "z": 1.0}, "b": [1, null, true, false], "empty": [], "none": {}}"#;
    assert_eq!(to_canonical_json(&value), text);
}

#[test]
fn text_is_ascii_escaped() {
    let value = Value::Text("\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}~é漢😀".to_owned());
    let text = r#""\"\\/\b\f\n\r\t\u0001\u007f~\u00e9\u6f22\ud83d\ude00""#;
    assert_eq!(to_canonical_json(&value), text);
}

proptest! {
    #[test]
    fn floats_round_trip(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let text = to_canonical_json(&Value::Float(number));
        prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(bits));
        prop_assert!(text.contains(['.', 'e']), "{} reads as an integer", text);
    }

    #[test]
    fn widened_float32_values_round_trip(bits in any::<u32>()) {
        let number = f64::from(f32::from_bits(bits));
        prop_assume!(number.is_finite());
        let text = to_canonical_json(&Value::Float(number));
        prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
    }
}
