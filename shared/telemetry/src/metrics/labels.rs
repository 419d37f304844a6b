//! The labels, each with a bounded set of values.

use prometheus_client::encoding::EncodeLabelSet;

macro_rules! labels {
    ($( #[$doc:meta] $name:ident { $( #[$field_doc:meta] $field:ident: $type:ty ),+ } )+) => {
        $(
            #[$doc]
            #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
            pub struct $name {
                $( #[$field_doc] pub $field: $type, )+
            }
        )+
    };
}

labels! {
    /// `method`, `route` and `status` of an HTTP request.
    HttpLabels {
        /// The request's method, of the known ones.
        method: &'static str,
        /// The matched route's pattern, never the path itself.
        route: String,
        /// The answer's status code.
        status: u16
    }
    /// `method` and `route` of an HTTP request.
    RouteLabels {
        /// The request's method, of the known ones.
        method: &'static str,
        /// The matched route's pattern, never the path itself.
        route: String
    }
    /// `status`: `ok`, `rejected` or `error`.
    StatusLabel {
        /// The outcome.
        status: &'static str
    }
    /// `result` of something that was tried.
    ResultLabel {
        /// The outcome.
        result: &'static str
    }
    /// `queue`.
    QueueLabel {
        /// The queue's name.
        queue: &'static str
    }
    /// `kind` of a job.
    KindLabel {
        /// The job's kind.
        kind: &'static str
    }
    /// `kind` and `status` of a job.
    KindStatus {
        /// The job's kind.
        kind: &'static str,
        /// Its terminal status.
        status: &'static str
    }
    /// `kind` and `stage` of a job's computation.
    KindStage {
        /// The job's kind.
        kind: &'static str,
        /// The stage, or `total`.
        stage: &'static str
    }
    /// `period` of a quota.
    PeriodLabel {
        /// `window` or `month`.
        period: &'static str
    }
    /// `limit` of requests.
    LimitLabel {
        /// `address`, `global`, or the group of routes.
        limit: &'static str
    }
    /// `problem` of a problem document.
    ProblemLabel {
        /// The last part of the problem's type.
        problem: &'static str
    }
}
