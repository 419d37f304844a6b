//! One golden vector: what goes in and what must come out.

use ndarray::{Array1, Array2};
use oscillink_lattice::{
    Chain, ChainReceiptOptions, DiffusionParams, Lambdas, Params, Plan, Problem, ReceiptOptions,
    SettleOptions, Solution, Unobserved, matrix_from_rows, solve,
};
use serde_json::Value as Json;

/// One vector, parsed.
#[derive(Clone)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) y: Array2<f32>,
    pub(crate) psi: Option<Array1<f32>>,
    pub(crate) gates: Option<Array1<f32>>,
    pub(crate) chain: Option<Chain>,
    pub(crate) params: Params,
    pub(crate) plan: Plan,
    pub(crate) input: Json,
    pub(crate) expected: Json,
}

impl Vector {
    pub(crate) fn parse(json: &Json) -> Self {
        let input = &json["input"];
        let rows: Vec<Vec<f32>> = input["Y"].as_array().unwrap().iter().map(floats).collect();
        let lambda = |name: &str| input["params"][name].as_f64().unwrap();
        let lambdas = Lambdas {
            g: lambda("lamG"),
            c: lambda("lamC"),
            q: lambda("lamQ"),
            p: lambda("lamP"),
        };
        let params = Params::new(count(&input["params"]["kneighbors"]), lambdas)
            .unwrap()
            .with_deterministic_k(input["params"]["deterministic_k"].as_bool().unwrap());
        let options = &input["options"];
        let chain = optional(&input["chain"]).map(|nodes| {
            let nodes = nodes.as_array().unwrap().iter().map(count).collect();
            Chain::new(nodes, optional(&input["chain_weights"]).map(floats)).unwrap()
        });
        let diffusion = optional(&input["diffusion"]).map(|given| {
            DiffusionParams::new(
                given["beta"].as_f64().unwrap(),
                given["gamma"].as_f64().unwrap(),
            )
            .unwrap()
            .with_kneighbors(optional(&given["kneighbors"]).map(count))
            .unwrap()
        });
        Self {
            name: json["name"].as_str().unwrap().to_owned(),
            y: matrix_from_rows(&rows).unwrap(),
            psi: optional(&input["psi"]).map(|psi| Array1::from_vec(floats(psi))),
            gates: optional(&input["gates"]).map(|gates| Array1::from_vec(floats(gates))),
            params,
            plan: Plan {
                settle: SettleOptions::new(
                    options["dt"].as_f64().unwrap(),
                    count(&options["max_iters"]),
                    options["tol"].as_f64().unwrap(),
                )
                .unwrap(),
                receipt: Some(ReceiptOptions::default()),
                bundle_k: optional(&options["bundle_k"]).map(count),
                chain_receipt: chain.as_ref().map(|_| ChainReceiptOptions::default()),
                diffusion,
                ustar: true,
            },
            chain,
            input: input.clone(),
            expected: json["expected"].clone(),
        }
    }

    pub(crate) fn solve(&self) -> Solution {
        let problem = Problem::new(
            self.y.view(),
            self.psi.as_ref().map(|psi| psi.view()),
            self.gates.as_ref().map(|gates| gates.view()),
            self.chain.as_ref(),
            self.params.clone(),
        )
        .unwrap();
        solve(&problem, &self.plan, &Unobserved).unwrap()
    }

    /// The digest holds gates rounded to six decimals. Diffused gates agree to four, so those of
    /// the vector are given instead: everything else must then agree to the bit.
    pub(crate) fn state_signature(&self, solution: &Solution) -> String {
        let Some(gates) = self.expected.get("diffusion_gates") else {
            return solution.state_sig.clone();
        };
        let given = Self {
            gates: Some(Array1::from_vec(floats(gates))),
            plan: Plan::default(),
            ..self.clone()
        };
        given.solve().state_sig
    }

    /// Square of the Frobenius norm, the scale of energy sums.
    pub(crate) fn energy(&self) -> f64 {
        self.y.iter().map(|v| f64::from(*v) * f64::from(*v)).sum()
    }
}

pub(crate) fn optional(json: &Json) -> Option<&Json> {
    (!json.is_null()).then_some(json)
}

pub(crate) fn count(json: &Json) -> usize {
    usize::try_from(json.as_u64().unwrap()).unwrap()
}

pub(crate) fn floats(json: &Json) -> Vec<f32> {
    doubles(json)
        .into_iter()
        .map(|value| value as f32)
        .collect()
}

pub(crate) fn doubles(json: &Json) -> Vec<f64> {
    json.as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect()
}
