//! What several test targets share. Tests themselves are in e2e/, fuzz/, generated/ and figures/.

pub mod fuzz;
mod python;

pub use python::python;
