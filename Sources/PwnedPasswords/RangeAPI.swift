import Foundation
import OutgoingHTTP
import Synchronization
import Text

/// The range API of Have I Been Pwned, or a mirror of it.
///
/// A request contains the first five digits of a hash, which hundreds of leaked passwords share. The response lists the other digits of all of them, so
/// the server does not learn which password was meant, or whether it has leaked. It is padded, so that its length does not tell observers which
/// digits were asked for.
public final class RangeAPI: PwnedPasswordSource {
  /// Why the API gave no answer.
  struct Failure: Error, CustomStringConvertible { let description: String }

  /// The address of the public API.
  public static let publicURL = "https://api.pwnedpasswords.com/range/"
  /// Seconds for the whole request. A person waits for it.
  private static let timeout = 0.5
  /// The highest number of requests at once. There is no queue, in which the time would run out.
  private static let connections = 16
  /// Bytes. A response of the public API has about 40 KiB.
  private static let responseLimit = 1 << 20
  private static let prefixLength = 5

  public let name = "api"
  private let url: String
  private let userAgent: String
  private let client: HTTPClient
  private let pause = Mutex(FailurePause())
  private let running = Mutex(0)

  /// Creates a source. It connects when there is a password to check, and keeps its connections open for a minute.
  /// - Parameters:
  ///   - url: The URL of the API up to the five digits: `https`, or `http` on this machine.
  ///   - userAgent: The name by which the API, which demands one, sees this client.
  public init(url: String = publicURL, userAgent: String) {
    self.url = url
    self.userAgent = userAgent
    // The operator chose the URL, which may lead to a mirror in a private network.
    client = HTTPClient(connections: Self.connections, rules: AddressRules(allowed: ["0.0.0.0/0", "::/0"].compactMap { IPNetwork($0) }))
  }

  public func contains(_ hash: SHA1Hash) async throws -> Bool {
    guard pause.withLock({ $0.admits(at: .now) }) else {
      throw Failure(description: "the last requests failed, so that none is sent for some seconds")
    }
    let isAdmitted = running.withLock { running in
      guard running < Self.connections else { return false }
      running += 1
      return true
    }
    guard isAdmitted else { throw Failure(description: "\(Self.connections) requests are in progress") }
    defer { running.withLock { $0 -= 1 } }
    // A client that disconnects may cancel this task. In another task, that neither ends the check nor counts as a failure of the API.
    return try await Task { try await askAndRecord(hash) }.value
  }

  private func askAndRecord(_ hash: SHA1Hash) async throws -> Bool {
    do {
      let isPwned = try await ask(hash)
      pause.withLock { $0.recordSuccess() }
      return isPwned
    } catch {
      pause.withLock { $0.recordFailure(at: .now) }
      throw error
    }
  }

  private func ask(_ hash: SHA1Hash) async throws -> Bool {
    let prefix = String(hash.hexadecimal.prefix(Self.prefixLength))
    var request = HTTPClient.Request(url: url + prefix)
    request.headers = [("Add-Padding", "true"), ("User-Agent", userAgent)]
    request.timeout = Self.timeout
    request.replyLimit = Self.responseLimit
    let reply: HTTPClient.Reply
    do {
      reply = try await client.send(request)
    } catch .failed(let reason) {
      throw Failure(description: reason)
    } catch {
      throw Failure(description: "\(error)")
    }
    guard reply.status == 200 else { throw Failure(description: "the API answered with status \(reply.status)") }
    guard !reply.isCut else { throw Failure(description: "the response has more than \(Self.responseLimit) bytes") }
    return try Self.contains(hash, Array(reply.body), prefix: Array(prefix.utf8))
  }

  /// Returns whether a response contains the hash. A response of another form is an error, because it proves nothing.
  static func contains(_ hash: SHA1Hash, _ response: [UInt8], prefix: [UInt8]) throws -> Bool {
    var lines = 0
    var isFound = false
    try forEachLine(in: response) { range in
      guard let line = HashLine(response, range, prefix: prefix) else { throw Failure(description: "the response is not a list of hashes") }
      lines += 1
      if line.hash == hash, line.count > 0 { isFound = true }
    }
    guard lines > 0 else { throw Failure(description: "the response is empty") }
    return isFound
  }
}
