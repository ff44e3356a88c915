/// Something that `check` found, and that may stop the start.
struct Finding: Error, Equatable, Sendable {
  /// The kinds, as Django's system checks number theirs. A number never comes to mean anything else; docs/errors.md lists them.
  enum Kind: String, CaseIterable {
    case unknownSetting = "E001"
    case missingSetting = "E002"
    case invalidSetting = "E003"
    case shortSecretKey = "E004"
    case unprotectedLink = "E005"
    case conflictingSettings = "E006"
    case unreadableFile = "E007"
    case invalidFile = "E008"
    case invalidWording = "E009"
    case unusableCertificate = "E010"
    case unusableDatabase = "E011"
    case damagedDatabase = "E012"
    case newerSchema = "E013"
    case foreignUserTable = "E014"
    case oldSQLite = "E015"
    case unusableMailServer = "E016"
    case noMailSent = "W001"
    case longTimeout = "W002"
    case loginInTheClear = "W003"
    case readableSecret = "W004"
    case plainOrigin = "W005"
    case pendingMigrations = "W006"
    case noDatabase = "W007"
    case noRateLimit = "W008"
    case noTrustedProxies = "W009"
    case usualSender = "W010"
    case localLink = "W011"
    case weakSecretKey = "W012"
    case openAdminListener = "W013"
    case unfinishedTransaction = "W014"
    case lockedDatabase = "W015"
    case doubtfulValue = "W016"

    var isError: Bool { rawValue.hasPrefix("E") }
  }

  var kind: Kind
  /// Names the setting, never its value.
  var message: String
  /// What to do, where the message does not say so.
  var hint: String?
  /// The setting whose value is at fault, if it is one setting's.
  var setting: SettingName?

  init(_ kind: Kind, _ message: String, hint: String? = nil, setting: SettingName? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
    self.setting = setting
  }

  /// As Django writes it.
  var id: String { "password_reset.\(kind.rawValue)" }
  var level: String { kind.isError ? "error" : "warning" }
}
