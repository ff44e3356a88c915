public import Credentials
public import Foundation
public import Text

/// Why an operation was not carried out.
public enum PasswordResetError: Error, Sendable, Equatable {
  /// The input breaks a rule; whatever link was used stays usable.
  case validation(FormErrors)
  /// The link does not, or no longer, set a password; `expired` tells one that is genuine but too old.
  case link(expired: Bool)
  /// Not now: the database or the hashing pool cannot take it. Nothing was changed.
  case unavailable(reason: String)
}

/// The three operations. Everything else is transport, storage and mail.
public struct PasswordResetService: Sendable {
  private let users: any UserStore
  private let outbox: any OutboxStore
  private let auditTrail: AuditTrail
  private let tokenGenerator: PasswordResetTokenGenerator
  private let identifierHasher: IdentifierHasher
  private let passwords: PasswordPolicy
  private let hashing: HashingPool
  private let notifiesOfChange: Bool
  private let wakeup: WorkerWakeup
  private let now: @Sendable () -> Date

  /// - Parameter notifiesOfChange: whether a reset is followed by the "your password was changed" mail.
  public init(
    users: any UserStore, outbox: any OutboxStore, auditTrail: AuditTrail, tokenGenerator: PasswordResetTokenGenerator,
    identifierHasher: IdentifierHasher, passwords: PasswordPolicy, hashing: HashingPool, notifiesOfChange: Bool, wakeup: WorkerWakeup,
    now: @escaping @Sendable () -> Date
  ) {
    self.users = users
    self.outbox = outbox
    self.auditTrail = auditTrail
    self.tokenGenerator = tokenGenerator
    self.identifierHasher = identifierHasher
    self.passwords = passwords
    self.hashing = hashing
    self.notifiesOfChange = notifiesOfChange
    self.wakeup = wakeup
    self.now = now
  }

  /// The rules for new passwords, a sentence each.
  public var passwordRules: [LocalizableMessage] { passwords.rules }

  /// Takes a request for a mail: when it returns, the request is on disk.
  ///
  /// It asks nothing about users, so it cannot tell whether there is one: the worker finds out after the reply.
  /// - Parameter locale: the language of the mail, as a tag.
  public func requestReset(_ form: PasswordResetForm, locale: String, requestID: String) async throws(PasswordResetError) {
    let identifier = try validated { () throws(FormErrors) in try form.clean() }
    let now = now()
    // The delay sets the worker's activity apart from the reply; a hundredth of a second is nothing to a mail.
    let due = now.addingTimeInterval(.random(in: 0.005...0.03))
    let audit = AuditRecord(.requested, identifierKey: identifierHasher.key(for: identifier))
    try await available { () throws(StoreError) in
      try await outbox.enqueue(identifier, audit: audit, locale: locale, requestID: requestID, at: now, due: due)
    }
    wakeup.wake()
  }

  /// What the link is good for. It changes nothing, so a mail scanner that opens the link spends nothing.
  public func checkLink(uidb64: String, token: String, requestID: String) async throws(PasswordResetError) -> LinkStatus {
    try await resolve(uidb64: uidb64, token: token, requestID: requestID).state
  }

  /// Sets the password that the form holds, if the link is good.
  ///
  /// The order is link, fields, hash, swap: a wrong link costs no hashing, a weak password spends no link, and of any number of calls with one
  /// link the database lets one win.
  /// - Parameter locale: the language of the notice, as a tag.
  public func setPassword(_ form: SetPasswordForm, uidb64: String, token: String, locale: String, requestID: String)
    async throws(PasswordResetError)
  {
    let (user, state) = try await resolve(uidb64: uidb64, token: token, requestID: requestID)
    guard case .valid = state, let user else { throw .link(expired: state == .expired) }
    let password = try validated { () throws(FormErrors) in try form.clean(for: user.attributes, validators: passwords.validators) }
    let encoded = try await hash(password, replacing: user.password)
    let change = PasswordChange(
      user: user, encoded: encoded, event: .reset, requestID: requestID, isNotified: notifiesOfChange, locale: locale)
    let won = try await available { () throws(StoreError) in try await users.setPassword(change, at: now()) }
    guard won else {
      auditTrail.note(AuditRecord(.linkInvalid, userID: user.id), requestID: requestID)
      throw .link(expired: false)
    }
    wakeup.wake()
  }

  /// Of the usual lengths.
  private static let nobody = TokenSubject(
    id: 0, password: "pbkdf2_sha256$1500000$0123456789abcdefghijkl$" + String(repeating: "0", count: 44), lastLogin: "2001-01-01 00:00:00",
    email: "nobody@example.com")

  private func resolve(uidb64: String, token: String, requestID: String) async throws(PasswordResetError) -> (User?, state: LinkStatus) {
    var user: User?
    let id = UIDB64.decode(uidb64)
    if let id {
      user = try await available { () throws(StoreError) in try await users.user(id: id) }
    }
    // Nobody's token is checked too, so that an unknown user takes as long as a wrong token.
    let verdict = tokenGenerator.check(token, for: user?.tokenSubject ?? Self.nobody, at: now())
    let state: LinkStatus =
      switch verdict {
      case .valid(let expiresAt) where user?.isActive == true: .valid(expiresAt: expiresAt)
      case .expired where user?.isActive == true: .expired
      default: .invalid
      }
    // The key as it was asked for, whoever has it: what is written of a link tells nobody's account from anybody's.
    if state == .invalid { auditTrail.note(AuditRecord(.linkInvalid, userID: id), requestID: requestID) }
    if state == .expired { auditTrail.note(AuditRecord(.linkExpired, userID: id), requestID: requestID) }
    return (user, state)
  }

  private func hash(_ password: String, replacing current: String) async throws(PasswordResetError) -> String {
    let result: Result<String, FieldError>
    do {
      result = try await hashing.run { [passwords] in try passwords.encode(password, replacing: current) }
    } catch {
      throw .unavailable(reason: "password hashing: \(error)")
    }
    do { return try result.get() } catch { throw .validation(FormErrors(["new_password2": [error]])) }
  }

  private func validated<Result>(_ check: () throws(FormErrors) -> Result) throws(PasswordResetError) -> Result {
    do { return try check() } catch { throw .validation(error) }
  }

  private func available<Result>(_ work: () async throws(StoreError) -> Result) async throws(PasswordResetError) -> Result {
    do {
      return try await work()
    } catch {
      switch error {
      case .unavailable(let reason): throw .unavailable(reason: reason)
      case .overloaded: throw .unavailable(reason: "too many requests are waiting for the disk")
      }
    }
  }
}
