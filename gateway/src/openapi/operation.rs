//! One operation's description.

use serde_json::{Map, Value, json};

use crate::error::Kind;

/// A method of a route: what it takes and gives.
pub struct Operation {
    method: &'static str,
    value: Map<String, Value>,
}

macro_rules! methods {
    ($($name:ident),+) => {$(
        /// An operation of this method.
        pub fn $name(tag: &str, id: &str, summary: &str) -> Operation {
            Operation::new(stringify!($name), tag, id, summary)
        }
    )+};
}
methods!(get, post, patch, delete);

impl Operation {
    fn new(method: &'static str, tag: &str, id: &str, summary: &str) -> Self {
        let security = match tag {
            "admin" => json!([{"adminSecret": []}]),
            "probes" => json!([]),
            _ => json!([{"apiKey": []}, {"bearer": []}]),
        };
        let value = json!({
            "tags": [tag],
            "operationId": id,
            "summary": summary,
            "security": security,
            "parameters": [],
            "responses": {},
        });
        let Value::Object(value) = value else {
            unreachable!("the literal above is an object");
        };
        let operation = Self { method, value };
        match tag {
            "probes" => operation.problems(&[405]),
            "admin" => operation.problems(&[400, 401, 404, 405, 429, 503]),
            _ => operation.problems(&[400, 401, 403, 404, 405, 429, 503]),
        }
    }

    /// More to say about it.
    pub fn describe(mut self, text: &str) -> Self {
        self.value.insert("description".to_owned(), text.into());
        self
    }

    fn parameter(mut self, parameter: Value) -> Self {
        if let Some(Value::Array(parameters)) = self.value.get_mut("parameters") {
            parameters.push(parameter);
        }
        self
    }

    /// A segment of the path.
    pub fn path(self, name: &str, description: &str) -> Self {
        self.path_of(name, description, json!({"type": "string"}))
    }

    /// A segment of the path with values of its own.
    pub fn path_of(self, name: &str, description: &str, schema: Value) -> Self {
        self.parameter(json!({"name": name, "in": "path", "required": true,
            "description": description, "schema": schema}))
    }

    /// A parameter of the query.
    pub fn query(self, name: &str, description: &str, schema: Value) -> Self {
        self.parameter(
            json!({"name": name, "in": "query", "description": description,
            "schema": schema}),
        )
    }

    /// A header of the request.
    pub fn header(self, name: &str, description: &str, schema: Value) -> Self {
        self.parameter(
            json!({"name": name, "in": "header", "description": description,
            "schema": schema}),
        )
    }

    /// Paging.
    pub fn paged(self) -> Self {
        let limit = json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 20});
        self.query("limit", "Items of a page", limit).query(
            "cursor",
            "A next_cursor of this list",
            json!({"type": "string"}),
        )
    }

    /// `Idempotency-Key`.
    pub fn idempotent(self) -> Self {
        let schema =
            json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"});
        self.header(
            "Idempotency-Key",
            "The same key with the same request gives the first answer for 24 hours",
            schema,
        )
        .problems(&[409, 422])
    }

    /// A body of one type.
    pub fn body(mut self, media: &str, schema: &str, example: Value) -> Self {
        let content = json!({"schema": reference(schema), "example": example});
        let body = self
            .value
            .entry("requestBody")
            .or_insert_with(|| json!({"required": true, "content": {}}));
        body["content"][media] = content;
        self.problems(&[408, 413, 415])
    }

    /// The body may be left out.
    pub fn may_be_empty(mut self) -> Self {
        if let Some(body) = self.value.get_mut("requestBody") {
            body["required"] = false.into();
        }
        self
    }

    /// A body of bytes.
    pub fn bytes(mut self, media: &str, description: &str) -> Self {
        let schema = json!({"type": "string", "format": "binary", "description": description});
        if let Some(body) = self.value.get_mut("requestBody") {
            body["content"][media] = json!({"schema": schema});
        }
        self
    }

    /// A body of several parts, with the types of those that are not text.
    pub fn parts(mut self, schema: Value, types: Value) -> Self {
        if let Some(body) = self.value.get_mut("requestBody") {
            body["content"]["multipart/form-data"] = json!({"schema": schema, "encoding": types});
        }
        self
    }

    /// An answer in JSON.
    pub fn answers(self, status: u16, description: &str, schema: &str, headers: &[&str]) -> Self {
        self.gives(status, description, headers).content(
            status,
            "application/json",
            reference(schema),
        )
    }

    /// A success in JSON.
    pub fn ok(self, description: &str, schema: &str) -> Self {
        self.answers(200, description, schema, &[])
    }

    /// One more form of an answer.
    pub fn content(mut self, status: u16, media: &str, schema: Value) -> Self {
        self.value["responses"][status.to_string()]["content"][media] = json!({"schema": schema});
        self
    }

    /// An answer without a described body.
    pub fn gives(mut self, status: u16, description: &str, headers: &[&str]) -> Self {
        let names = headers.iter().chain(["X-Request-Id"].iter());
        let headers: Map<String, Value> = names
            .map(|name| {
                let reference = json!({"$ref": format!("#/components/headers/{name}")});
                ((*name).to_owned(), reference)
            })
            .collect();
        self.value["responses"][status.to_string()] =
            json!({"description": description, "headers": headers});
        self
    }

    /// Problems that it may answer with.
    pub fn problems(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            self.value["responses"][status.to_string()] =
                json!({"$ref": format!("#/components/responses/{status}")});
        }
        self
    }

    /// Method and description.
    pub fn into_entry(self) -> (String, Value) {
        (self.method.to_owned(), Value::Object(self.value))
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// Every problem, by status, with an example of each kind.
pub fn responses() -> Value {
    let mut responses = Map::new();
    for kind in Kind::ALL {
        let (status, slug, title) = kind.describe();
        let entry = responses
            .entry(status.as_u16().to_string())
            .or_insert_with(|| {
                json!({
                    "description": title,
                    "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
                    "content": {"application/problem+json": {
                        "schema": reference("Problem"),
                        "examples": {}
                    }}
                })
            });
        if matches!(status.as_u16(), 409 | 429 | 503) {
            entry["headers"]["Retry-After"] = json!({"$ref": "#/components/headers/Retry-After"});
        }
        if status.as_u16() == 429 {
            for name in ["RateLimit", "RateLimit-Policy"] {
                entry["headers"][name] = json!({"$ref": format!("#/components/headers/{name}")});
            }
        }
        let mut example = json!({
            "type": format!("urn:oscillink:problem:{slug}"),
            "title": title,
            "status": status.as_u16(),
            "detail": kind.example(),
            "request_id": "req_0CnR4k1Zt7mQx2VbY8sLwA"
        });
        if status.as_u16() == 400 {
            example["errors"] = json!([{"field": "Y[1]", "detail": "has 1 columns, expected 2"}]);
        }
        entry["content"]["application/problem+json"]["examples"][slug] = json!({"value": example});
    }
    Value::Object(responses)
}
