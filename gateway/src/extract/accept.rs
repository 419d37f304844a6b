//! The `Accept` header (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

/// What the client says of a media type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How welcome it is, in thousandths; 0: not at all.
    pub quality: u16,
    /// By its own name, not by a wildcard.
    pub named: bool,
}

impl Accepted {
    /// What `Accept` says of `media`, by the range that fits it most closely. Without the header
    /// everything is welcome.
    #[must_use]
    pub fn of(headers: &HeaderMap, media: &str) -> Self {
        let mut best: Option<(Closeness, u16)> = None;
        let mut ranges = 0;
        let values = headers.get_all(header::ACCEPT).iter();
        for text in values.filter_map(|value| value.to_str().ok()) {
            for range in text.split(',').filter(|range| !range.trim().is_empty()) {
                ranges += 1;
                let mut parts = range.split(';').map(str::trim);
                let fit = closeness(parts.next().unwrap_or_default(), media);
                let Some(closeness) = fit else { continue };
                let found = (closeness, quality(parts));
                best = best.max(Some(found));
            }
        }
        match best {
            Some((closeness, quality)) => Self {
                quality,
                named: closeness == Closeness::Name,
            },
            None => Self {
                quality: if ranges == 0 { 1_000 } else { 0 },
                named: false,
            },
        }
    }

    /// Named, and refused.
    #[must_use]
    pub const fn is_refused(self) -> bool {
        self.named && self.quality == 0
    }
}

/// Whether the client would rather have `media` than `usual`, the form that it gets unasked: it has to
/// be the more welcome, or as welcome and named.
#[must_use]
pub fn prefers(headers: &HeaderMap, media: &str, usual: &str) -> bool {
    let (wanted, usual) = (Accepted::of(headers, media), Accepted::of(headers, usual));
    wanted.quality > usual.quality
        || (wanted.quality > 0 && wanted.quality == usual.quality && wanted.named)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Anything,
    Group,
    Name,
}

fn closeness(range: &str, media: &str) -> Option<Closeness> {
    if range.eq_ignore_ascii_case(media) {
        return Some(Closeness::Name);
    }
    if range == "*/*" {
        return Some(Closeness::Anything);
    }
    let group = range.strip_suffix("/*")?;
    let (own, _) = media.split_once('/')?;
    own.eq_ignore_ascii_case(group).then_some(Closeness::Group)
}

/// The weight among a range's parameters. What is no weight counts as none given.
fn quality<'a>(parameters: impl Iterator<Item = &'a str>) -> u16 {
    let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let weight = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let weight = weight.and_then(|(_, text)| text.trim().parse::<f64>().ok());
    let weight = weight.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0);
    (weight * 1_000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const NPY: &str = "application/x-npy";
    const JSON: &str = "application/json";

    fn headers(texts: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(header::ACCEPT, text.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_more_welcome_form_is_preferred_and_the_usual_one_otherwise() {
        for (accept, expected) in [
            (["application/x-npy"].as_slice(), true),
            (&["Application/X-NPY; q=0.1"], true),
            (&["application/json, application/x-npy"], true),
            (&["application/json", "application/x-npy"], true),
            (&["application/x-npy;q=0.5, */*;q=0.1"], true),
            (&["application/*;q=0.4, application/json;q=0"], true),
            (&["application/x-npy;q=0.9,application/json;q=0.5"], true),
            (&["application/x-npy;q=0.5,application/json;q=0.9"], false),
            (&["application/x-npy;q=0, application/json"], false),
            (&["application/x-npy;q=0"], false),
            (&["application/x-npy;q=0.000, */*"], false),
            (&["*/*"], false),
            (&["application/*"], false),
            (&["text/html"], false),
            (&["", ","], false),
            (&[], false),
        ] {
            assert_eq!(prefers(&headers(accept), NPY, JSON), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_closest_range_counts() {
        let of = |accept: &str| Accepted::of(&headers(&[accept]), NPY);
        assert!(of("application/x-npy;q=0, */*").is_refused());
        assert!(!of("*/*;q=0").is_refused());
        assert_eq!(of("*/*;q=0.3, application/*;q=0.2").quality, 200);
        assert_eq!(of("application/x-npy;version=1;q=0.25").quality, 250);
        for odd in ["q=2", "q=x", "q=-1", "q=NaN", "q"] {
            assert_eq!(of(&format!("*/*;{odd}")).quality, 1_000, "{odd}");
        }
        assert_eq!(of("text/*").quality, 0);
    }
}
