//! Comparisons that collect every disagreement instead of stopping at the first.

/// Collects every disagreement of one vector, so that a failure shows all of them.
pub(crate) struct Check<'a> {
    pub(crate) vector: &'a str,
    pub(crate) failures: Vec<String>,
}

impl Check<'_> {
    pub(crate) fn close(&mut self, what: &str, got: f64, want: f64, absolute: f64, relative: f64) {
        if (got - want).abs() > absolute + relative * want.abs() || !got.is_finite() {
            self.failures
                .push(format!("{}: {what} is {got}, expected {want}", self.vector));
        }
    }

    pub(crate) fn all_close(
        &mut self,
        what: &str,
        got: &[f64],
        want: &[f64],
        absolute: f64,
        relative: f64,
    ) {
        self.same(&format!("length of {what}"), &got.len(), &want.len());
        for (index, (got, want)) in got.iter().zip(want).enumerate() {
            self.close(&format!("{what}[{index}]"), *got, *want, absolute, relative);
        }
    }

    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: &T, want: &T) {
        if got != want {
            self.failures.push(format!(
                "{}: {what} is {got:?}, expected {want:?}",
                self.vector
            ));
        }
    }
}
