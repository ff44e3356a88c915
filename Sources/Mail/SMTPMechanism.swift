import Synchronization

/// A mechanism to sign in with a password, in the order of preference. TLS protects the password, so the plain mechanisms come first:
/// servers that offer others do not always accept them.
enum SMTPMechanism: String, CaseIterable {
  case plain = "PLAIN"
  case login = "LOGIN"
  case cramMD5 = "CRAM-MD5"

  /// Remembers the mechanism that worked, for the next connections to the same server.
  final class Memory: Sendable {
    private let last = Mutex<SMTPMechanism?>(nil)

    /// The mechanisms to try, the one that worked first.
    var candidates: [SMTPMechanism] {
      let last = last.withLock(\.self)
      return (last.map { [$0] } ?? []) + SMTPMechanism.allCases.filter { $0 != last }
    }

    func remember(_ mechanism: SMTPMechanism) { last.withLock { $0 = mechanism } }
  }
}
