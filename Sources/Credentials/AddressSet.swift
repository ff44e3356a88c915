import Text

/// All addresses of a user, as django-allauth's `EmailAwarePasswordResetTokenGenerator` binds a token to them.
///
/// allauth joins the set with `|`: the address in the users table in lowercase, and the addresses in its own table,
/// verified or not, as they are stored.
public struct AddressSet: Sendable, Equatable {
  /// The joined addresses, in the order of their code points.
  public let text: String

  /// Creates the set.
  /// - Parameters:
  ///   - email: the address in the users table, which may be empty.
  ///   - others: the addresses in allauth's table.
  public init(email: String, others: [String]) {
    let own = Self.own(email)
    // Swift compares strings by canonical equivalence, and Python by code points, whose order is that of UTF-8.
    let sorted = ((own.isEmpty ? [] : [own]) + others).map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) }
    var joined: [UInt8] = []
    for (index, address) in sorted.enumerated() where index == 0 || address != sorted[index - 1] {
      if index > 0 { joined.append(UInt8(ascii: "|")) }
      joined += address
    }
    text = String(decoding: joined, as: UTF8.self)
  }

  /// Returns the spelling under which the address in the users table is in the set.
  public static func own(_ email: String) -> String { email.pythonLowercased }

  public static func == (first: Self, second: Self) -> Bool { first.text.isIdentical(to: second.text) }
}
