import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import PasswordReset
import NIOCore
import Testing

@Suite struct `Secrets` {
  @Test func `the token is only in the email, and no password or address is in the log`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let token = String(try #require(link.split(separator: "/").last))
      _ = try await client.get(link)
      _ = try await client.setPassword(link, "weak")
      harness.mails.fail { _ in .transient(reason: "421") }
      _ = try await client.setPassword(link, "a-Fine-pass-77")
      _ = try await client.get(link)
      try await eventually("a failed notice") { harness.mails.tried >= 2 }

      let mac = String(token.drop { $0 != "-" })
      let folder = (harness.path as NSString).deletingLastPathComponent
      let files = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(files.contains("test.sqlite3-wal"))
      for file in files {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: folder).appendingPathComponent(file))
        #expect(bytes.range(of: Data(mac.utf8)) == nil, "\(file)")
        #expect(bytes.range(of: Data("a-Fine-pass-77".utf8)) == nil, "\(file)")
      }
      let log = harness.log.lines + harness.statements.lines
      #expect(log.contains { $0.contains("Request") } && log.contains { $0.contains(#"UPDATE "auth_user""#) })
      for secret in [mac, "a-Fine-pass-77", "alice@example.com", Harness.secretKey, Harness.oldPassword] {
        #expect(!log.contains { $0.contains(secret) })
      }
    }
  }

  @Test(arguments: [
    [HTTPField(name: .init("X-Forwarded-Host")!, value: "evil.example")],
    [HTTPField(name: .init("Forwarded")!, value: "host=evil.example;proto=http")],
    [HTTPField(name: .init("X-Forwarded-Proto")!, value: "http")], [HTTPField(name: .init("X-Original-URL")!, value: "https://evil.example/")],
    [HTTPField(name: .origin, value: "https://evil.example")], [HTTPField(name: .referer, value: "https://evil.example/x")],
    [HTTPField(name: .init("X-Host")!, value: "evil.example"), HTTPField(name: .init("X-Forwarded-Server")!, value: "evil.example")],
  ])
  func `the host of the link comes from the configuration, regardless of the request`(_ poison: [HTTPField]) async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      var headers: HTTPFields = [.contentType: "application/json"]
      for field in poison { headers.append(field) }
      let body = ByteBuffer(string: #"{"email":"alice@example.com","domain":"evil.example","reset_url":"https://evil.example"}"#)
      _ = try await client.execute(uri: "/password-reset", method: .post, headers: headers, body: body) { Reply($0) }
      _ = try await harness.link()
      #expect(harness.mails.sent.allSatisfy { !$0.body.contains("evil") && $0.body.contains("https://example.com/reset/") })
    }
  }
}
