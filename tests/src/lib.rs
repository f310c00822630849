//! What several test targets share. Tests themselves are in e2e/, generated/ and figures/.

mod python;

pub use python::python;
