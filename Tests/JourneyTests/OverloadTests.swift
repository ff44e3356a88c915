import Credentials
import Foundation
import HummingbirdTesting
import Testing

@testable import App

@Suite struct `Overload` {
  @Test func `of the hashing pool is refused with 503, while health is answered and the link stays usable`() async throws {
    let harness = try Harness()
    let gate = GatedHasher()
    let capacity = 33 * ProcessInfo.processInfo.activeProcessorCount
    try await harness.run(hasher: gate) { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      try await withThrowingTaskGroup(of: Reply.self) { group in
        for index in 0..<(capacity + 20) { group.addTask { try await client.setPassword(link, "a-Fine-pass-\(index)") } }
        // Requests within the capacity wait at the gate, so the first responses are the refusals.
        for _ in 0..<20 {
          let reply = try #require(try await group.next())
          #expect(reply.status == 503 && reply.code == "unavailable" && reply.headers[.retryAfter] == "5")
        }
        #expect(try await client.get("/health/live").status == 200)
        #expect(try await client.get(link).json["validlink"] as? Bool == true)
        gate.open()
        var statuses: [Int: Int] = [:]
        for try await reply in group { statuses[reply.status, default: 0] += 1 }
        #expect(statuses == [200: 1, 400: capacity - 1])
      }
    }
  }
}

/// Hashes only after the test has opened its gate.
private final class GatedHasher: PasswordHasher {
  let algorithm = "pbkdf2_sha256"
  let isBounded = true
  var specimen: String { hasher.specimen }

  private let hasher = PBKDF2PasswordHasher(iterations: 10)
  private let gate = DispatchSemaphore(value: 0)

  func open() { gate.signal() }

  func encode(_ password: String) throws(PasswordHashingError) -> String {
    gate.wait()
    gate.signal()
    return try hasher.encode(password)
  }

  func recognizes(_ encoded: String) -> Bool { hasher.recognizes(encoded) }

  func verify(_ password: String, encoded: String) -> Bool { hasher.verify(password, encoded: encoded) }
}
