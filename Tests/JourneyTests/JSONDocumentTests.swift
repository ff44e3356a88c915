import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import NIOCore
import Testing

/// Requests for a reset whose bodies are the files in `json`, named as in JSONTestSuite: `y_` is accepted, `n_` is
/// refused as malformed.
@Suite struct `A JSON document` {
  private static let folder = Bundle.module.resourceURL?.appendingPathComponent("json")

  private static let names = folder.flatMap { try? FileManager.default.contentsOfDirectory(atPath: $0.path) }?.sorted() ?? []

  private func content(of name: String) throws -> Data { try Data(contentsOf: #require(Self.folder).appendingPathComponent(name)) }

  @Test(arguments: ["/password-reset", "/password-reset/MQ/1-2"])
  func `is refused as malformed where it is not strictly JSON`(_ path: String) async throws {
    let names = Self.names.filter { $0.hasPrefix("n_") }
    try #require(names.count > 300)
    try await send(names, to: path) { name, outcome, _ in #expect(outcome == "malformed", "\(name)") }
  }

  /// A document requests an email to `a@b.co`, unless `meanings.json` says otherwise.
  @Test func `means the characters that it spells`() async throws {
    let names = Self.names.filter { $0.hasPrefix("y_") }
    let meanings = try JSONDecoder().decode([String: String].self, from: content(of: "meanings.json"))
    try #require(names.count > 100 && meanings.keys.allSatisfy { names.contains($0) })
    try await send(names) { name, outcome, _ in
      // Compare bytes: Swift treats canonically equivalent strings as equal, but names of members must not be.
      #expect(Array(outcome.utf8) == Array((meanings[name] ?? "email a@b.co").utf8), "\(name): \(outcome)")
    }
  }

  @Test func `is refused with the reason and its place`() async throws {
    try await send(Array(details.keys)) { name, _, detail in #expect(detail == details[name], "\(name)") }
  }

  /// Sends the documents one after the other, and passes each result and the `detail` of its refusal to `body`.
  private func send(
    _ names: [String], to path: String = "/password-reset", _ check: @escaping @Sendable (String, String, String?) throws -> Void
  ) async throws {
    let harness = try Harness()
    // The worker claims nothing, so requests stay in the outbox until the test reads them.
    try await harness.run(policy: .asleep) { client in
      for name in names {
        let body = ByteBuffer(bytes: try content(of: name))
        let reply = try await client.execute(uri: path, method: .post, headers: [.contentType: "application/json"], body: body) { Reply($0) }
        try check(name, try outcome(of: reply, harness), (try? reply.json)?["detail"] as? String)
      }
    }
  }

  private func outcome(of reply: Reply, _ harness: Harness) throws -> String {
    let jobs = try harness.sql { db in
      try Row.fetchAll(db, sql: "DELETE FROM password_reset_outbox RETURNING substr(kind, 9) AS kind, identifier").map { row in
        "\(row["kind"] as String) \(row["identifier"] as String)"
      }
    }
    switch (reply.status, reply.code, jobs.count) {
    case (202, nil, 1): return jobs[0]
    case (400, "malformed_json", 0): return "malformed"
    case (400, "validation_error", 0):
      return (["errors"] + reply.fieldCodes.map { "\($0.key)=\($0.value.joined(separator: ","))" }.sorted()).joined(separator: " ")
    default: return "\(reply.status) \(reply.code ?? "") with \(jobs.count) jobs"
    }
  }
}

/// Each reason once, and some places that are hard to find.
private let details = [
  "n_no_object_an_empty_array.json": "The body must be a JSON object.",
  "n_encoding_utf_32_big_endian_marked.json": "The body is not well-formed JSON: the text is not UTF-8, at byte 2.",
  "n_utf8_a_continuation_byte_too_many.json": "The body is not well-formed JSON: the text is not UTF-8, at byte 13.",
  "n_utf8_at_the_end_cut_short.json": "The body is not well-formed JSON: the text is not UTF-8, at byte 11.",
  "n_object_a_trailing_comma.json": "The body is not well-formed JSON: a member's name is expected, at byte 18.",
  "n_whitespace_nothing.json": "The body is not well-formed JSON: unexpected end: a value is missing, at byte 0.",
  "n_object_no_value.json": "The body is not well-formed JSON: a value is expected, at byte 9.",
  "n_trailing_a_second_document.json": "The body is not well-formed JSON: unexpected text after the value, at byte 18.",
  "n_trailing_a_value_after_an_array.json": "The body is not well-formed JSON: unexpected text after the value, at byte 3.",
  "n_object_no_comma.json": "The body is not well-formed JSON: a comma or a closing brace is expected, at byte 17.",
  "n_object_no_colon.json": "The body is not well-formed JSON: a colon is expected, at byte 9.",
  "n_number_no_exponent.json": "The body is not well-formed JSON: a digit is expected, at byte 7.",
  "n_array_no_comma.json": "The body is not well-formed JSON: a comma or a closing bracket is expected, at byte 8.",
  "n_control_character_tab.json": "The body is not well-formed JSON: a control character in a string must be escaped, at byte 11.",
  "n_escape_a_bell.json": "The body is not well-formed JSON: an unknown escape, at byte 11.",
  "n_escape_one_digit.json": "The body is not well-formed JSON: four hexadecimal digits are expected, at byte 12.",
  "n_surrogate_a_low_one_after_a_pair.json": "The body is not well-formed JSON: half of a surrogate pair, at byte 24.",
  "n_surrogate_a_low_one_with_three_digits.json": "The body is not well-formed JSON: four hexadecimal digits are expected, at byte 18.",
  "n_end_after_the_opening_brace.json": "The body is not well-formed JSON: unexpected end: a member's name is expected, at byte 1.",
  "n_end_in_a_string.json": "The body is not well-formed JSON: unexpected end: a string has no end, at byte 16.",
  "n_end_in_a_name_escape.json": "The body is not well-formed JSON: unexpected end: an escape is cut short, at byte 3.",
  "n_end_after_a_name.json": "The body is not well-formed JSON: unexpected end: a colon is expected, at byte 8.",
  "n_end_after_an_escape_letter.json": "The body is not well-formed JSON: unexpected end: four hexadecimal digits are expected, at byte 12.",
  "n_end_after_a_value.json": "The body is not well-formed JSON: unexpected end: a comma or a closing brace is expected, at byte 17.",
  "n_end_after_an_element.json": "The body is not well-formed JSON: unexpected end: a comma or a closing bracket is expected, at byte 7.",
  "n_end_after_a_minus.json": "The body is not well-formed JSON: unexpected end: a digit is expected, at byte 6.",
  "n_duplicate_name_the_first_with_an_escape.json": "The body is not well-formed JSON: a member name occurs twice, at byte 23.",
  "n_duplicate_name_a_pair_and_its_character.json": "The body is not well-formed JSON: a member name occurs twice, at byte 10.",
  "n_depth_nine_objects.json": "The body is not well-formed JSON: nested deeper than 8 levels, at byte 40.",
  "n_depth_before_an_address.json": "The body is not well-formed JSON: nested deeper than 8 levels, at byte 12.",
  "n_word_nulls.json": "The body is not well-formed JSON: a comma or a closing brace is expected, at byte 9.",
]
