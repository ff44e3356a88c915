/// An error or a warning about the configuration or the database. An error prevents the start.
struct Finding: Error, Equatable, Sendable {
  /// The kinds, numbered like Django's system checks. docs/errors.md lists them. The meaning of a number never changes.
  enum Kind: String, CaseIterable {
    case unknownSetting = "E001"
    case missingSetting = "E002"
    case invalidSetting = "E003"
    case shortSecretKey = "E004"
    case unprotectedLink = "E005"
    case conflictingSettings = "E006"
    case unreadableFile = "E007"
    case invalidFile = "E008"
    case invalidMailContent = "E009"
    case unusableCertificate = "E010"
    case unusableDatabase = "E011"
    case damagedDatabase = "E012"
    case newerSchema = "E013"
    case foreignUserTable = "E014"
    case oldSQLite = "E015"
    case unusableMailServer = "E016"
    case unwritableFolder = "E017"
    case tooFewFiles = "E018"
    case unreachableDatabase = "E030"
    case missingPrivilege = "E031"
    case sharedConnections = "E032"
    case differentVector = "E033"
    case unusableAfterReset = "E034"
    case failingAfterReset = "E035"
    case unprotectedWebhook = "E037"
    case forbiddenWebhookAddress = "E038"
    case missingAddressTable = "E040"
    case unusablePwnedFile = "E041"
    case noMailSent = "W001"
    case longTimeout = "W002"
    case unencryptedSignIn = "W003"
    case readableSecret = "W004"
    case plainOrigin = "W005"
    case pendingMigrations = "W006"
    case noDatabase = "W007"
    case noRateLimit = "W008"
    case noTrustedProxies = "W009"
    case defaultSender = "W010"
    case localLink = "W011"
    case weakSecretKey = "W012"
    case openAdminListener = "W013"
    case unfinishedTransaction = "W014"
    case lockedDatabase = "W015"
    case doubtfulValue = "W016"
    case ignoredPort = "W017"
    case settingOfDjango = "W018"
    case similarName = "W019"
    case unusedSetting = "W020"
    case trustsEveryone = "W021"
    case damagedUsers = "W022"
    case allauth = "W023"
    case unavailableAddress = "W024"
    case missingEmailIndex = "W030"
    case unsafeDatabaseServer = "W031"
    case readOnlyDatabase = "W032"
    case excessivePrivileges = "W033"
    case clockDifference = "W035"
    case differentTimeout = "W036"
    case unendedTokens = "W037"
    case wideWebhookNetworks = "W038"
    case plainWebhook = "W039"
    case unusablePwnedAPI = "W042"
    case oldPwnedFile = "W043"

    var isError: Bool { rawValue.hasPrefix("E") }
  }

  var kind: Kind
  /// What is wrong, with the name of the setting but never its value.
  var message: String
  /// What to do, if the message does not say it.
  var hint: String?
  /// The setting whose value is wrong, if it is a single one.
  var setting: SettingName?

  init(_ kind: Kind, _ message: String, hint: String? = nil, setting: SettingName? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
    self.setting = setting
  }

  /// The number in the form of Django's checks: `password_reset.E003`.
  var id: String { "password_reset.\(kind.rawValue)" }
  var level: String { kind.isError ? "error" : "warning" }
}
