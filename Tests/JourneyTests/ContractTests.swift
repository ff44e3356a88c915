import Foundation
import HTTPAPI
import Hummingbird
import HummingbirdTesting
import Logging
import PasswordReset
import Testing
import Yams

@testable import App

/// Compares `openapi.yaml` with the server in both directions.
@Suite struct `The contract` {
  let contract: Contract

  init() throws { contract = try Contract(yaml: Self.text) }

  private static var text: String {
    get throws {
      let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      return try String(contentsOf: root.appendingPathComponent("openapi.yaml"), encoding: .utf8)
    }
  }

  @Test func `is served exactly as it is in the repository`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      let reply = try await client.get("/openapi.yaml")
      #expect(reply.text == (try Self.text))
      #expect(reply.headers[.contentType] == "application/yaml")
    }
  }

  @Test func `names all routes of the server and no others`() async throws {
    let harness = try Harness()
    // The harness deletes its database when it is released.
    defer { withExtendedLifetime(harness) {} }
    let settings = try Settings(environment: [
      "DATABASE_URL": "sqlite:\(harness.path)", "SECRET_KEY": Harness.secretKey, "EMAIL_BACKEND": "memory", "SITE_NAME": "Example",
      "RESET_URL": "https://example.com/reset/{uid}/{token}",
    ])
    let application = try buildApplication(settings, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let api = try #require(try await application.responder as? API)
    #expect(Set(contract.operations) == Set(api.routeNames))
  }

  @Test func `lists all problem codes of the server and no others`() {
    let documented = contract.schemas.flatMap { name, schema in name.hasSuffix("Problem") ? contract.values(of: "code", in: schema) : [] }
    #expect(Set(documented) == Set(ProblemCode.allCases.map(\.rawValue)))
  }

  /// The test produces every status of every operation. Each response must fit the contract.
  @Test func `promises all statuses and bodies that the server sends, and no others`() async throws {
    let harness = try Harness()
    var seen: Set<String> = []
    func meet(_ operation: String, _ reply: Reply) throws {
      let (method, path) = (String(operation.split(separator: " ")[0]), String(operation.split(separator: " ")[1]))
      try contract.check(reply, method: method, path: path)
      seen.insert("\(operation) \(reply.status)")
    }
    let replies = Replies()
    try await harness.run { client in try await replies.collect(client, harness) }
    try await Harness().run(["RATE_LIMIT_REQUESTS": "1/h", "RATE_LIMIT_LINKS": "1/h"]) { client in try await replies.collectThrottled(client) }
    for (operation, reply) in replies.all { try meet(operation, reply) }
    #expect(seen == Set(contract.statuses))
  }

  @Test func `describes the responses to unknown paths and wrong methods`() async throws {
    let harness = try Harness()
    let replies = Replies()
    try await harness.run { client in
      replies.all = [("NotFound", try await client.get("/nothing")), ("MethodNotAllowed", try await client.send(.delete, "/password-reset"))]
    }
    for (component, reply) in replies.all { try contract.check(reply, component: component) }
  }

  @Test func `refuses a response that does not fit, so that this suite can fail`() throws {
    let health = try #require(contract.schemas["Health"])
    #expect(throws: Contract.Mismatch.self) { try contract.validate(["status": "something else"], health, at: "$") }
    #expect(throws: Contract.Mismatch.self) { try contract.validate([:] as [String: Any], health, at: "$") }
    let problem = try #require(contract.schemas["PasswordProblem"])
    let refused: [String: Any] = [
      "type": "urn:password-reset:problem:validation_error", "title": "Validation failed", "status": 400, "code": "validation_error",
      "detail": "", "request_id": String(repeating: "a", count: 32), "validlink": true, "errors": ["locale": [["code": "invalid", "message": ""]]],
    ]
    try contract.validate(refused, problem, at: "$")
    for (name, value): (String, Any?) in [("errors", nil), ("validlink", nil), ("code", "invalid_link"), ("status", 401), ("type", "urn:x")] {
      var bad = refused
      bad[name] = value
      #expect(throws: Contract.Mismatch.self) { try contract.validate(bad, problem, at: "$") }
    }
    let link = try #require(contract.schemas["LinkState"])
    let good: [String: Any] = ["validlink": true, "expires_at": "2026-11-20T22:09:52Z", "password_rules": ["a"]]
    try contract.validate(good, link, at: "$")
    for (name, value): (String, Any) in [
      ("validlink", "true"), ("expires_at", 5), ("expires_at", "soon"), ("password_rules", "a"), ("password_rules", [1]),
      ("extra", 1),
    ] {
      var bad = good
      bad[name] = value
      #expect(throws: Contract.Mismatch.self) { try contract.validate(bad, link, at: "$") }
    }
  }
}

/// Collects at least one response for every status in the contract.
private final class Replies: @unchecked Sendable {  // Only one test uses it, and sends one request after the other.
  var all: [(String, Reply)] = []

  func collect(_ client: any TestClientProtocol, _ harness: Harness) async throws {
    let request = "POST /password-reset"
    let check = "GET /password-reset/{uidb64}/{token}"
    let confirm = "POST /password-reset/{uidb64}/{token}"
    try await harness.addUser()
    all.append((request, try await client.requestReset(email: "alice@example.com")))
    let link = try await harness.link()
    for body in [
      "{", "{}", #"{"email":"x","locale":5}"#, #"{"email":"a@b.co","username":"b"}"#, "{\"email\":\"\(String(repeating: "a", count: 300))\"}",
    ] {
      all.append((request, try await client.send(.post, "/password-reset", body: body)))
    }
    let cancel = "POST /password-reset/{uidb64}/{token}/cancel"
    for body in [nil, "{}", "[]"] { all.append((cancel, try await client.send(.post, "/password-reset/MQ/1-2/cancel", body: body))) }
    let huge = String(repeating: " ", count: 20_000)
    for (operation, path) in [(request, "/password-reset"), (confirm, link), (cancel, "\(link)/cancel")] {
      all.append((operation, try await client.send(.post, path, body: huge)))
      all.append((operation, try await client.send(.post, path, body: "{}", contentType: "text/plain")))
    }
    all.append((check, try await client.get(link)))
    all.append((check, try await client.get("/password-reset/MQ/1-2")))
    for password in ["1234", "alice123", ""] { all.append((confirm, try await client.setPassword(link, password))) }
    all.append((confirm, try await client.setPassword("/password-reset/MQ/1-2", "a-Fine-pass-77")))
    all.append((confirm, try await client.send(.post, link, body: "[]")))
    harness.clock.advance(by: 4000)
    all.append((check, try await client.get(link)))
    all.append((confirm, try await client.setPassword(link, "a-Fine-pass-77")))
    harness.clock.advance(by: -4000)
    all.append((confirm, try await client.setPassword(link, "a-Fine-pass-77")))
    for path in ["/openapi.yaml", "/health/live", "/health/ready"] { all.append(("GET \(path)", try await client.get(path))) }
    try await collectUnavailable(client, harness, link, [request, check, confirm, cancel])
  }

  /// Collects the responses to a client that sends too many requests, up to the refusal.
  func collectThrottled(_ client: any TestClientProtocol) async throws {
    let link = "/password-reset/MQ/1-2"
    for _ in 0..<2 {
      all.append(("POST /password-reset", try await client.send(.post, "/password-reset", body: "{}")))
      all.append(("GET /password-reset/{uidb64}/{token}", try await client.get(link)))
    }
    all.append(("POST /password-reset/{uidb64}/{token}", try await client.setPassword(link, "a-Fine-pass-77")))
    all.append(("POST /password-reset/{uidb64}/{token}/cancel", try await client.send(.post, "\(link)/cancel")))
  }

  /// Collects the responses after the tables of the database have disappeared.
  private func collectUnavailable(_ client: any TestClientProtocol, _ harness: Harness, _ link: String, _ operations: [String]) async throws {
    try await harness.drained()
    try harness.execute("ALTER TABLE auth_user RENAME TO gone; ALTER TABLE password_reset_outbox RENAME TO gone_too")
    all.append((operations[0], try await client.requestReset(email: "alice@example.com")))
    all.append((operations[1], try await client.get(link)))
    all.append((operations[2], try await client.setPassword(link, "a-Fine-pass-77")))
    all.append((operations[3], try await client.send(.post, "\(link)/cancel")))
    all.append(("GET /health/ready", try await client.get("/health/ready")))
  }
}

/// An OpenAPI document, and the part of JSON Schema that `openapi.yaml` uses.
struct Contract {
  struct Mismatch: Error, CustomStringConvertible { var description: String }

  private let root: [String: Any]

  init(yaml: String) throws { root = try #require(try Yams.load(yaml: yaml) as? [String: Any]) }

  var schemas: [String: [String: Any]] { section("schemas") }

  private func section(_ name: String) -> [String: [String: Any]] {
    ((root["components"] as? [String: Any])?[name] as? [String: [String: Any]]) ?? [:]
  }

  private var paths: [String: [String: Any]] { root["paths"] as? [String: [String: Any]] ?? [:] }

  private func methods(of path: [String: Any]) -> [(String, [String: Any])] {
    path.compactMap { name, value in ["get", "post"].contains(name) ? (name.uppercased(), value as? [String: Any] ?? [:]) : nil }
  }

  /// `GET /health/live` and so on.
  var operations: [String] { paths.flatMap { path, item in methods(of: item).map { "\($0.0) \(path)" } } }

  /// `GET /health/live 200` and so on.
  var statuses: [String] {
    paths.flatMap { path, item in
      methods(of: item).flatMap { method, operation in
        (operation["responses"] as? [String: Any] ?? [:]).keys.map { "\(method) \(path) \($0)" }
      }
    }
  }

  func check(_ reply: Reply, method: String, path: String) throws {
    let operation = paths[path]?[method.lowercased()] as? [String: Any]
    let responses = operation?["responses"] as? [String: [String: Any]] ?? [:]
    guard let response = responses["\(reply.status)"] else {
      throw Mismatch(description: "\(method) \(path) answers \(reply.status), which is not listed")
    }
    try check(reply, response, at: "\(method) \(path) \(reply.status)")
  }

  func check(_ reply: Reply, component name: String) throws {
    try check(reply, try #require(section("responses")[name]), at: name)
  }

  private func check(_ reply: Reply, _ response: [String: Any], at place: String) throws {
    let response = resolve(response)
    let content = response["content"] as? [String: [String: Any]] ?? [:]
    guard let type = reply.headers[.contentType], let media = content[type] else { throw Mismatch(description: "\(place): the type is not listed") }
    for (name, header) in response["headers"] as? [String: [String: Any]] ?? [:] {
      try check(reply.headers.first { $0.name.canonicalName == name.lowercased() }?.value, resolve(header), at: "\(place): the header \(name)")
    }
    let value: Any = type.hasSuffix("json") ? try JSONSerialization.jsonObject(with: Data(reply.text.utf8)) : reply.text
    if let schema = media["schema"] as? [String: Any] { try validate(value, schema, at: place) }
  }

  private func check(_ value: String?, _ header: [String: Any], at place: String) throws {
    guard let value else {
      if header["required"] as? Bool == true { throw Mismatch(description: "\(place) is missing") }
      return
    }
    let schema = resolve(header["schema"] as? [String: Any] ?? [:])
    try validate(schema["type"] as? String == "integer" ? (Int(value) as Any? ?? value) : value, schema, at: place)
  }

  private func resolve(_ value: [String: Any]) -> [String: Any] {
    guard let reference = value["$ref"] as? String else { return value }
    return reference.split(separator: "/").dropFirst().reduce(root as Any) { ($0 as? [String: Any])?[String($1)] as Any } as? [String: Any] ?? [:]
  }

  /// The values that `property` may have in an object schema.
  func values(of property: String, in schema: [String: Any]) -> [String] {
    let property = (schema["properties"] as? [String: [String: Any]])?[property] ?? [:]
    return (property["const"] as? String).map { [$0] } ?? property["enum"] as? [String] ?? []
  }

  func validate(_ value: Any, _ schema: [String: Any], at place: String) throws {
    let schema = resolve(schema)
    try validateType(value, schema, at: place)
    if let expected = schema["const"], !same(value, expected) { throw Mismatch(description: "\(place): \(value) is not \(expected)") }
    if let allowed = schema["enum"] as? [Any], !allowed.contains(where: { same(value, $0) }) {
      throw Mismatch(description: "\(place): \(value) is not listed")
    }
    if let text = value as? String { try validateText(text, schema, at: place) }
    if let minimum = schema["minimum"] as? Int, let number = value as? Int, number < minimum {
      throw Mismatch(description: "\(place): \(number) is less than \(minimum)")
    }
    if let maximum = schema["maximum"] as? Int, let number = value as? Int, number > maximum {
      throw Mismatch(description: "\(place): \(number) is more than \(maximum)")
    }
    if let minimum = schema["minItems"] as? Int, let list = value as? [Any], list.count < minimum {
      throw Mismatch(description: "\(place): has only \(list.count) items")
    }
    if let minimum = schema["minProperties"] as? Int, let object = value as? [String: Any], object.count < minimum {
      throw Mismatch(description: "\(place): has only \(object.count) members")
    }
    if let object = value as? [String: Any] { try validateObject(object, schema, at: place) }
    try validateConditions(value, schema, at: place)
    if let list = value as? [Any], let items = schema["items"] as? [String: Any] {
      for item in list { try validate(item, items, at: "\(place)[]") }
    }
  }

  /// Follows `if`, `then`, `else` and `not`.
  private func validateConditions(_ value: Any, _ schema: [String: Any], at place: String) throws {
    func fits(_ name: String) -> Bool? { (schema[name] as? [String: Any]).map { (try? validate(value, $0, at: place)) != nil } }
    if fits("not") == true { throw Mismatch(description: "\(place): \(value) is excluded") }
    guard let isTrue = fits("if"), let branch = schema[isTrue ? "then" : "else"] as? [String: Any] else { return }
    try validate(value, branch, at: place)
  }

  private func same(_ a: Any, _ b: Any) -> Bool {
    switch (a, b) {
    case (let a as String, let b as String): a == b
    case (let a as NSNumber, let b as NSNumber): a == b
    default: false
    }
  }

  private func validateText(_ text: String, _ schema: [String: Any], at place: String) throws {
    if let pattern = schema["pattern"] as? String, try !text.contains(Regex(pattern)) {
      throw Mismatch(description: "\(place): \(text) does not match \(pattern)")
    }
    if schema["format"] as? String == "date-time", (try? Date(text, strategy: .iso8601)) == nil {
      throw Mismatch(description: "\(place): \(text) is no date")
    }
  }

  private func validateType(_ value: Any, _ schema: [String: Any], at place: String) throws {
    let types = schema["type"] as? [String] ?? (schema["type"] as? String).map { [$0] } ?? []
    let fits =
      types.isEmpty
      || types.contains { type in
        switch type {
        case "string": value is String
        case "integer": value is Int
        case "boolean": value is Bool
        case "array": value is [Any]
        case "object": value is [String: Any]
        default: false
        }
      }
    if !fits { throw Mismatch(description: "\(place): \(value) is no \(types)") }
  }

  private func validateObject(_ object: [String: Any], _ schema: [String: Any], at place: String) throws {
    let properties = schema["properties"] as? [String: [String: Any]] ?? [:]
    for name in schema["required"] as? [String] ?? [] where object[name] == nil { throw Mismatch(description: "\(place): \(name) is missing") }
    for (name, member) in object {
      if let property = properties[name] {
        try validate(member, property, at: "\(place).\(name)")
      } else if let others = schema["additionalProperties"] as? [String: Any] {
        try validate(member, others, at: "\(place).\(name)")
      } else if schema["additionalProperties"] as? Bool == false {
        throw Mismatch(description: "\(place): \(name) is not listed")
      }
    }
  }
}
