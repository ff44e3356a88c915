import PasswordReset

/// The kind of account that a request names. All names have the same length.
enum AccountKind: CaseIterable {
  case known, unknown, inactive
  /// An account without a usable password.
  case unusable
  /// A known account whose address has used up its email limit.
  case inCooldown

  /// The number of accounts in cooldown: requests name them repeatedly. Every other account is named once, because it gets only one email.
  static let inCooldownCount = 2000

  /// The first letter of the names.
  private var letter: Unicode.Scalar {
    switch self {
    case .known: "k"
    case .unknown: "u"
    case .inactive: "i"
    case .unusable: "p"
    case .inCooldown: "c"
    }
  }

  /// The audit event of a reset request that names such an account.
  var event: AuditEvent {
    switch self {
    case .known: .mailed
    case .unknown, .inactive, .unusable: .noAccount
    case .inCooldown: .suppressed
    }
  }

  func username(_ index: Int) -> String { "\(letter)\(1_000_000 + (self == .inCooldown ? index % Self.inCooldownCount : index))" }

  func email(_ index: Int) -> String { "\(username(index))@example.com" }

  /// Returns whether `address` belongs to an account of this kind.
  func owns(_ address: String) -> Bool { address.unicodeScalars.first == letter }
}
