//! The shipped embeddings: a slice of WordNet's glosses (see `demo/README.md`).

use anyhow::{Context as _, Result, ensure};
use oscillink_wire::{Format, Parameters, SizeLimits, SolveRequest, parse};

const VECTORS: &[u8] = include_bytes!("../../../demo/glosses-500x384.f32.npy");
const TEXTS: &str = include_str!("../../../demo/glosses-500.txt");

/// Texts and their embeddings, row by row. The rows have unit length.
pub struct Glosses {
    texts: Vec<&'static str>,
    vectors: SolveRequest,
}

impl Glosses {
    /// The shipped ones.
    pub fn load() -> Result<Self> {
        let body = parse(Format::Npy, VECTORS, Parameters::new(), &SizeLimits::NONE)
            .context("the shipped embeddings")?;
        let texts: Vec<&str> = TEXTS.lines().collect();
        ensure!(
            texts.len() == body.request.n(),
            "the shipped texts and vectors differ in number"
        );
        Ok(Self {
            texts,
            vectors: body.request,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Numbers per embedding.
    pub fn dim(&self) -> usize {
        self.vectors.d()
    }

    /// The text of a row.
    pub fn text(&self, row: usize) -> &'static str {
        self.texts[row]
    }

    /// The embedding of a row.
    pub fn vector(&self, row: usize) -> Vec<f32> {
        self.vectors.y().row(row).to_vec()
    }

    /// Cosine similarity of two rows.
    pub fn similarity(&self, a: usize, b: usize) -> f64 {
        let y = self.vectors.y();
        let pairs = y
            .row(a)
            .into_iter()
            .zip(y.row(b))
            .map(|(a, b)| f64::from(*a) * f64::from(*b));
        pairs.collect::<Vec<f64>>().into_iter().sum()
    }

    /// The row whose headword is `word`, or whose text contains it.
    pub fn find(&self, word: &str) -> Option<usize> {
        let wanted = word.to_lowercase();
        let headword = |text: &str| text.split(':').next().unwrap_or_default().to_lowercase();
        let exact = self.texts.iter().position(|text| headword(text) == wanted);
        exact.or_else(|| {
            self.texts
                .iter()
                .position(|text| text.to_lowercase().contains(&wanted))
        })
    }

    /// All other rows, the most similar to `row` first.
    pub fn nearest(&self, row: usize) -> Vec<usize> {
        let mut others: Vec<(f64, usize)> = (0..self.len())
            .filter(|other| *other != row)
            .map(|other| (self.similarity(row, other), other))
            .collect();
        others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        others.into_iter().map(|(_, other)| other).collect()
    }

    /// How alike the rows are: the mean similarity of their pairs.
    pub fn likeness(&self, rows: &[usize]) -> f64 {
        let pairs: Vec<f64> = rows
            .iter()
            .enumerate()
            .flat_map(|(place, a)| rows[..place].iter().map(move |b| (*a, *b)))
            .map(|(a, b)| self.similarity(a, b))
            .collect();
        pairs.iter().sum::<f64>() / pairs.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_slice_is_whole() {
        let glosses = Glosses::load().unwrap();
        assert_eq!((glosses.len(), glosses.dim()), (500, 384));
        let row = glosses.find("Music critic").unwrap();
        assert!(glosses.text(row).starts_with("music critic:"));
        assert!((glosses.similarity(row, row) - 1.0).abs() < 1e-5);
        let nearest = glosses.nearest(row);
        assert_eq!(nearest.len(), 499);
        assert!(glosses.similarity(row, nearest[0]) >= glosses.similarity(row, nearest[1]));
    }
}
