//! Written straight or by way of a value: the same bytes.

use std::collections::BTreeMap;

use super::super::to_canonical;
use super::*;
use serde_json::json;

/// Every shape that serde knows, with members out of order.
#[derive(Serialize)]
struct Shapes {
    z: Option<u8>,
    unit: (),
    a: Vec<Shape>,
    map: BTreeMap<Shape2, i64>,
    numbers: BTreeMap<u16, bool>,
    pair: (char, &'static str),
    newtype: Newtype,
    #[serde(flatten)]
    flat: BTreeMap<String, u32>,
}

#[derive(Serialize)]
struct Newtype(String);

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
enum Shape2 {
    B,
    A,
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(i8),
    Tuple(u8, u8),
    Struct { b: u8, a: u8 },
}

#[test]
fn every_shape_is_written_as_its_value_is() {
    let shapes = Shapes {
        z: None,
        unit: (),
        a: vec![
            Shape::Unit,
            Shape::Newtype(-1),
            Shape::Tuple(1, 2),
            Shape::Struct { b: 1, a: 2 },
        ],
        map: BTreeMap::from([(Shape2::B, 1), (Shape2::A, 2)]),
        numbers: BTreeMap::from([(9, true), (10, false)]),
        pair: ('"', "\u{1}\u{1f}\u{7f}\n\t\u{8}\u{c}\r\\/é"),
        newtype: Newtype("\u{1f600}".to_owned()),
        flat: BTreeMap::from([("q".to_owned(), 1), ("b".to_owned(), 2)]),
    };
    let wanted = serde_json_canonicalizer::to_vec(&serde_json::to_value(&shapes).unwrap());
    let ours = to_canonical(&shapes).unwrap();
    assert_eq!(
        String::from_utf8(ours).unwrap(),
        String::from_utf8(wanted.unwrap()).unwrap()
    );
}

#[test]
fn what_no_reader_would_take_is_not_written() {
    let flat = |name: &str| {
        to_canonical(&Shapes {
            z: None,
            unit: (),
            a: Vec::new(),
            map: BTreeMap::new(),
            numbers: BTreeMap::new(),
            pair: ('a', "a"),
            newtype: Newtype(String::new()),
            flat: BTreeMap::from([(name.to_owned(), 1)]),
        })
    };
    assert!(flat("y").is_ok());
    assert_eq!(flat("z"), Err(Error::DuplicateName("z".to_owned())));
    assert_eq!(
        to_canonical(&f64::NAN),
        Err(Error::Number("NaN".to_owned()))
    );
    assert!(matches!(to_canonical(&i128::MAX), Err(Error::Number(_))));
    let deep = (0..limits::JSON_DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]));
    assert!(to_canonical(&deep).is_ok());
    assert_eq!(to_canonical(&json!([[deep]])), Err(Error::TooDeep));
}
