import PasswordReset

/// Whom a request names. All names are equally long.
enum Subject: CaseIterable {
  case known, unknown, inactive
  /// Without a usable password.
  case unusable
  /// Known, with the limit of mails to the address used up.
  case inCooldown

  /// How many of the last kind there are, to be named again and again; of the others each is named once, as a known one gets one mail only.
  static let inCooldownCount = 2000

  /// The first letter of the names.
  var letter: Unicode.Scalar {
    switch self {
    case .known: "k"
    case .unknown: "u"
    case .inactive: "i"
    case .unusable: "p"
    case .inCooldown: "c"
    }
  }

  /// What the audit says of a request.
  var event: AuditEvent {
    switch self {
    case .known: .mailed
    case .unknown, .inactive, .unusable: .noAccount
    case .inCooldown: .suppressed
    }
  }

  func username(_ index: Int) -> String { "\(letter)\(1_000_000 + (self == .inCooldown ? index % Self.inCooldownCount : index))" }

  func email(_ index: Int) -> String { "\(username(index))@example.com" }

  /// Whether `address` is one of these.
  func owns(_ address: String) -> Bool { address.unicodeScalars.first == letter }

  /// The key in `auth_user`: those of known users are even, and the odd ones between them are nobody's.
  static func id(_ index: Int, isKnown: Bool) -> Int64 { 1_000_000 + 2 * Int64(index) + (isKnown ? 0 : 1) }
}
