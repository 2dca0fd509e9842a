//! A scripted Responses API server on the loopback, for a real codex to talk to.
//!
//! A test gives a function from request to [`Answer`]; the server records every request in the order of arrival and ends with
//! its value: no thread outlives it. It is bounded in connections and body size. A script that panics fails the test that
//! owns the server (when it is dropped), not codex.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

const MAX_CONNECTIONS: usize = 64;
const MAX_BODY_BYTES: u64 = 16 << 20;

/// One model call as codex made it.
#[derive(Debug, Clone)]
pub(crate) struct ModelRequest {
    /// Counts from 1, in the order of arrival, over all connections.
    pub(crate) number: usize,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl ModelRequest {
    /// The text of the last user message; empty when there is none.
    pub(crate) fn prompt(&self) -> String {
        let (message, _) = self.split();
        message.map(|item| text_of(&item["content"])).unwrap_or_default()
    }

    /// What tools answered since the last user message, oldest first.
    pub(crate) fn tool_outputs(&self) -> Vec<String> {
        let (_, after) = self.split();
        let outputs = after
            .iter()
            .filter(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("_output")));
        outputs.map(|item| text_of(&item["output"])).collect()
    }

    /// The first line of the prompt.
    pub(crate) fn marker(&self) -> String {
        self.prompt().lines().next().unwrap_or_default().to_owned()
    }

    /// The value of the prompt's first line `NAME: value`.
    pub(crate) fn fact(&self, name: &str) -> Option<String> {
        let prompt = self.prompt();
        let mut values =
            prompt.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(|value| value.trim().to_owned())
    }

    /// Whether codex asked for an answer after a schema.
    pub(crate) fn has_schema(&self) -> bool {
        self.body["text"]["format"]["type"] == "json_schema"
    }

    /// The last user message, and the items that follow it.
    fn split(&self) -> (Option<&Value>, &[Value]) {
        let input = self.body["input"].as_array().map_or(&[][..], Vec::as_slice);
        match input.iter().rposition(|item| item["type"] == "message" && item["role"] == "user") {
            Some(at) => (Some(&input[at]), &input[at + 1..]),
            None => (None, input),
        }
    }
}

/// Content comes as a string or as a list of parts with a text.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// What the server says to one request: items, then `response.completed`, unless told otherwise.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    items: Vec<Value>,
    usage: Usage,
    delay: Duration,
    failure: Option<(u16, String)>,
    headers: Vec<(String, String)>,
    cut_after: Option<usize>,
    hang: Option<Hang>,
}

/// The tokens that one answer claims to have used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { input: 100, cached: 20, output: 10, reasoning: 5 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hang {
    BeforeHeaders,
    AfterHeaders,
}

impl Answer {
    /// A message of the model.
    pub(crate) fn say(text: impl Into<String>) -> Self {
        Self::default().and_say(text)
    }

    /// A message whose text is this JSON.
    pub(crate) fn json(value: &Value) -> Self {
        Self::say(value.to_string())
    }

    /// A call of the shell tool.
    pub(crate) fn exec(command: &str) -> Self {
        Self::default().and_exec(command)
    }

    /// A call of `apply_patch`; the text goes from `*** Begin Patch` to `*** End Patch`.
    pub(crate) fn patch(text: &str) -> Self {
        let mut answer = Self::default();
        answer
            .push(json!({"type": "custom_tool_call", "name": "apply_patch", "input": text}), "ctc");
        answer
    }

    /// An HTTP failure with this body.
    pub(crate) fn status(code: u16, body: impl Into<String>) -> Self {
        Self { failure: Some((code, body.into())), ..Self::default() }
    }

    /// The 429 of an account that has used up its plan; it resets `seconds` after the answer.
    pub(crate) fn usage_limit(seconds: u64) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let error = json!({"type": "usage_limit_reached", "message": "limit", "plan_type": "pro",
                           "resets_in_seconds": seconds, "resets_at": now + seconds});
        Self::status(429, json!({ "error": error }).to_string())
    }

    /// Takes the request and never answers.
    pub(crate) fn hang() -> Self {
        Self { hang: Some(Hang::BeforeHeaders), ..Self::default() }
    }

    /// Sends the headers of a good answer, then nothing.
    pub(crate) fn hang_after_headers() -> Self {
        Self { hang: Some(Hang::AfterHeaders), ..Self::default() }
    }

    /// Adds a message.
    pub(crate) fn and_say(mut self, text: impl Into<String>) -> Self {
        let content = json!([{"type": "output_text", "text": text.into(), "annotations": []}]);
        self.push(json!({"type": "message", "role": "assistant", "content": content}), "msg");
        self
    }

    /// Adds a call of the shell tool.
    pub(crate) fn and_exec(mut self, command: &str) -> Self {
        let arguments = json!({ "cmd": command }).to_string();
        self.push(
            json!({"type": "function_call", "name": "exec_command", "arguments": arguments}),
            "fc",
        );
        self
    }

    /// Says what the answer cost.
    pub(crate) fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Waits before the headers; less when the server ends.
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a header, such as `retry-after`.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Closes the connection after so many events of the stream.
    pub(crate) fn cut_after(mut self, events: usize) -> Self {
        self.cut_after = Some(events);
        self
    }

    fn push(&mut self, mut item: Value, prefix: &str) {
        let place = self.items.len() + 1;
        item["id"] = json!(format!("{prefix}_{place}"));
        item["status"] = json!("completed");
        if item["type"] != "message" {
            item["call_id"] = json!(format!("call_{place}"));
        }
        self.items.push(item);
    }

    /// The stream in the order codex wants it. Ids carry the request's number: a thread's call ids must not repeat.
    fn events(&self, number: usize) -> Vec<Value> {
        let id = format!("resp_{number}");
        let mut events = vec![json!({"type": "response.created", "response": {"id": id}})];
        let items: Vec<Value> = self.items.iter().map(|item| numbered(item, number)).collect();
        for (index, item) in items.iter().enumerate() {
            events.push(json!({"type": "response.output_item.added", "output_index": index, "item": begun(item)}));
            events.push(
                json!({"type": "response.output_item.done", "output_index": index, "item": item}),
            );
        }
        let usage = self.usage.to_json();
        let response = json!({"id": id, "status": "completed", "output": items, "usage": usage});
        events.push(json!({"type": "response.completed", "response": response}));
        events.truncate(self.cut_after.unwrap_or(usize::MAX));
        events
    }
}

impl Usage {
    fn to_json(self) -> Value {
        json!({
            "input_tokens": self.input, "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": self.output, "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.input + self.output,
        })
    }
}

fn numbered(item: &Value, number: usize) -> Value {
    let mut item = item.clone();
    for key in ["id", "call_id"] {
        if let Some(id) = item[key].as_str().map(|id| format!("{id}_of_{number}")) {
            item[key] = json!(id);
        }
    }
    if item["call_id"].is_null() {
        item.as_object_mut().expect("items are objects").remove("call_id");
    }
    item
}

/// An item as it looks before its content has come.
fn begun(item: &Value) -> Value {
    let mut item = item.clone();
    item["status"] = json!("in_progress");
    for (key, empty) in [("content", json!([])), ("arguments", json!("")), ("input", json!(""))] {
        if item.get(key).is_some() {
            item[key] = empty;
        }
    }
    item
}

type Script = Box<dyn Fn(&ModelRequest) -> Answer + Send + Sync>;

struct Shared {
    script: Script,
    state: Mutex<State>,
    /// Rings when a request arrives and when the server ends.
    bell: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<ModelRequest>,
    open: BTreeMap<usize, TcpStream>,
    connections: Vec<JoinHandle<()>>,
    failures: Vec<String>,
    ending: bool,
}

impl Shared {
    /// A poisoned state is still read: what a test wants then is the first failure, not the second.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server; it ends when dropped.
pub(crate) struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl ModelServer {
    /// Listens on a free port of the loopback and answers every model call by `script`.
    pub(crate) fn start(script: impl Fn(&ModelRequest) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            state: Mutex::default(),
            bell: Condvar::new(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// What a provider's `base_url` must say.
    pub(crate) fn base_url(&self) -> String {
        base_url(self.address.port())
    }

    /// Every model call so far.
    pub(crate) fn requests(&self) -> Vec<ModelRequest> {
        self.shared.state().requests.clone()
    }

    /// Waits until so many model calls were made; panics when they were not.
    pub(crate) fn wait_for_requests(&self, count: usize, deadline: Duration) {
        let state = self.shared.state();
        let lacking = |state: &mut State| state.requests.len() < count;
        let (state, _) = self.shared.bell.wait_timeout_while(state, deadline, lacking).unwrap();
        let found = state.requests.len();
        drop(state);
        assert!(found >= count, "{found} instead of {count} model calls after {deadline:?}");
    }

    /// The flags by which one codex call talks to this server.
    pub(crate) fn config_args(&self) -> Vec<String> {
        provider_args(&self.base_url())
    }

    /// Writes a user's own `config.toml` that makes every codex with this home talk to this server.
    pub(crate) fn write_config(&self, codex_home: &Path) {
        let text = format!(
            "model = \"gpt-5.5\"\nmodel_provider = \"mock\"\n\n[model_providers.mock]\nname = \"mock\"\nbase_url = \"{}\"\n\
             wire_api = \"responses\"\nrequest_max_retries = 0\nstream_max_retries = 1\n",
            self.base_url()
        );
        fs::write(codex_home.join("config.toml"), text).unwrap();
    }
}

/// The flags by which one codex call talks to the server at this url.
pub(crate) fn provider_args(base_url: &str) -> Vec<String> {
    let settings = [
        "model=\"gpt-5.5\"".to_owned(),
        "model_provider=\"mock\"".to_owned(),
        "model_providers.mock.name=\"mock\"".to_owned(),
        format!("model_providers.mock.base_url=\"{base_url}\""),
        "model_providers.mock.wire_api=\"responses\"".to_owned(),
        "model_providers.mock.request_max_retries=0".to_owned(),
        "model_providers.mock.stream_max_retries=1".to_owned(),
    ];
    settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect()
}

/// The base url of a server at this port of the loopback.
pub(crate) fn base_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/v1")
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.state().ending = true;
        self.shared.bell.notify_all();
        // The acceptor sits in accept(2); one more connection is what wakes it.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor does not panic");
        }
        let (open, connections) = {
            let mut state = self.shared.state();
            (std::mem::take(&mut state.open), std::mem::take(&mut state.connections))
        };
        for stream in open.values() {
            drop(stream.shutdown(Shutdown::Both));
        }
        for connection in connections {
            connection.join().expect("a connection does not panic");
        }
        let failures = std::mem::take(&mut self.shared.state().failures);
        assert!(
            failures.is_empty() || thread::panicking(),
            "the script of the model server panicked: {failures:?}"
        );
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, stream) in listener.incoming().enumerate() {
        let Ok(stream) = stream else { continue };
        let mut state = shared.state();
        if state.ending {
            return;
        }
        if state.open.len() >= MAX_CONNECTIONS {
            continue;
        }
        let Ok(held) = stream.try_clone() else { continue };
        state.open.insert(number, held);
        state.connections.retain(|connection| !connection.is_finished());
        let shared = Arc::clone(shared);
        state.connections.push(thread::spawn(move || {
            // A client that goes away is no failure of the test.
            drop(serve(&stream, &shared));
            drop(stream.shutdown(Shutdown::Both));
            shared.state().open.remove(&number);
        }));
    }
}

/// Reads one request and answers it; codex is told to open a new connection for the next.
fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let Some((line, headers)) = read_head(&mut reader)? else { return Ok(()) };
    let body = read_body(&mut reader, &headers)?;
    if !line.starts_with("POST ") {
        return send_whole(stream, 200, &[], r#"{"object":"list","data":[]}"#);
    }
    let body = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => {
            shared.state().failures.push(format!("a request is not JSON: {error}"));
            return send_whole(stream, 400, &[], "not JSON");
        }
    };
    let request = record(shared, headers, body);
    match catch_unwind(AssertUnwindSafe(|| (shared.script)(&request))) {
        Ok(answer) => send(stream, shared, &answer, request.number),
        Err(panic) => {
            shared.state().failures.push(words_of(panic.as_ref()));
            send_whole(stream, 400, &[], "the script panicked")
        }
    }
}

fn record(shared: &Shared, headers: BTreeMap<String, String>, body: Value) -> ModelRequest {
    let mut state = shared.state();
    let request = ModelRequest { number: state.requests.len() + 1, headers, body };
    state.requests.push(request.clone());
    shared.bell.notify_all();
    request
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    words
        .or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()))
        .unwrap_or_default()
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, BTreeMap<String, String>)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some((first, headers)));
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

fn read_body(reader: &mut impl Read, headers: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
    let length: u64 =
        headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if length > MAX_BODY_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(body)
}

fn send(stream: &TcpStream, shared: &Shared, answer: &Answer, number: usize) -> io::Result<()> {
    let state = shared.state();
    drop(shared.bell.wait_timeout_while(state, answer.delay, |state| !state.ending));
    if answer.hang == Some(Hang::BeforeHeaders) {
        return until_the_client_goes(stream);
    }
    if let Some((code, body)) = &answer.failure {
        return send_whole(stream, *code, &answer.headers, body);
    }
    let mut out = stream;
    out.write_all(head(200, "text/event-stream", None, &answer.headers).as_bytes())?;
    if answer.hang == Some(Hang::AfterHeaders) {
        return until_the_client_goes(stream);
    }
    for event in answer.events(number) {
        write!(
            out,
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().expect("events have a type")
        )?;
    }
    Ok(())
}

/// Reads until end of file; the server's own end shuts the stream down, which reads as that too.
fn until_the_client_goes(mut stream: &TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

fn send_whole(
    mut stream: &TcpStream,
    code: u16,
    headers: &[(String, String)],
    body: &str,
) -> io::Result<()> {
    let head = head(code, "application/json", Some(body.len()), headers);
    stream.write_all(format!("{head}{body}").as_bytes())
}

fn head(code: u16, content: &str, length: Option<usize>, headers: &[(String, String)]) -> String {
    let mut lines = vec![format!("HTTP/1.1 {code} scripted"), format!("content-type: {content}")];
    lines.extend(length.map(|length| format!("content-length: {length}")));
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.push("connection: close\r\n\r\n".to_owned());
    lines.join("\r\n")
}

fn call(server: &ModelServer, body: &Value) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "POST /v1/responses HTTP/1.1\r\nX-Test: Yes\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn user(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

#[test]
fn requests_are_read_and_recorded() {
    let server = ModelServer::start(|_| Answer::say("hi"));
    let output = json!({"type": "function_call_output", "call_id": "c", "output": "new"});
    let old = json!({"type": "function_call_output", "call_id": "b", "output": "old"});
    let input =
        json!([user("first"), old, user("NUMERUS_PLAN V1\nTASK_ID: t1\nTASK_ID: t2"), output]);
    let answer =
        call(&server, &json!({"input": input, "text": {"format": {"type": "json_schema"}}}));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.trim_end().lines().last().unwrap().contains("response.completed"), "{answer}");
    let request = &server.requests()[0];
    assert_eq!((request.number, request.marker().as_str()), (1, "NUMERUS_PLAN V1"));
    assert_eq!(request.headers["x-test"], "Yes");
    assert_eq!(request.fact("TASK_ID").as_deref(), Some("t1"));
    assert_eq!(request.fact("TASK"), None);
    assert_eq!(request.tool_outputs(), ["new"]);
    assert!(request.has_schema());
}

#[test]
fn answers_follow_the_script() {
    let server = ModelServer::start(|request| match request.number {
        1 => Answer::status(429, "slow down").header("retry-after", "2"),
        2 => Answer::exec("true").and_exec("false").cut_after(2),
        _ => Answer::json(&json!({"a": 1})).after(Duration::from_millis(1)),
    });
    let refused = call(&server, &json!({}));
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 2"), "{refused}");
    let cut = call(&server, &json!({}));
    assert_eq!(cut.matches("\nevent: ").count(), 2, "{cut}");
    assert!(!cut.contains("response.completed"), "{cut}");
    assert!(call(&server, &json!({})).contains(r#"{\"a\":1}"#));
}

#[test]
fn a_hanging_answer_ends_with_the_server() {
    let server = ModelServer::start(|_| Answer::hang());
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    server.wait_for_requests(1, Duration::from_secs(10));
    drop(server);
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    assert_eq!(rest, b"");
}

#[test]
#[should_panic(expected = "the script of the model server panicked")]
fn a_panicking_script_fails_its_test() {
    let server = ModelServer::start(|_| panic!("unexpected prompt"));
    assert!(call(&server, &json!({})).starts_with("HTTP/1.1 400"));
}
