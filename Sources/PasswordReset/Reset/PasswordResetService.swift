public import Concurrency
import Credentials
import Foundation
public import Prometheus
public import Text

/// The reason why the service refused an operation.
public enum PasswordResetError: Error, Sendable, Equatable {
  /// The input breaks a rule. The link stays usable.
  case validation(FormErrors)
  /// The link cannot set a password, or can no longer do so.
  case invalidLink
  /// The link is genuine but too old.
  case expiredLink
  /// The database or the hashing pool has no capacity now. Nothing was changed.
  case unavailable(reason: String)
}

/// Implements the operations of a password reset: request an email, check a link, set a password, cancel links.
public struct PasswordResetService: Sendable {
  private let context: ResetContext
  private let auditTrail: AuditTrail
  private let passwords: PasswordPolicy
  private let hashing: HashingPool
  private let leases: LeaseKeeper
  private let webhooks: WebhookReports
  private let sendsNotice: Bool
  private let afterResetFailures: Counter

  /// Creates a service from its parts.
  /// - Parameters:
  ///   - leases: The leases on the jobs of emails.
  ///   - webhooks: Makes the jobs that report events.
  ///   - sendsNotice: Whether the user gets the "your password was changed" email after a reset.
  public init(
    context: ResetContext, auditTrail: AuditTrail, passwords: PasswordPolicy, hashing: HashingPool, leases: LeaseKeeper, webhooks: WebhookReports,
    sendsNotice: Bool, registry: Registry
  ) {
    self.context = context
    self.auditTrail = auditTrail
    self.passwords = passwords
    self.hashing = hashing
    self.leases = leases
    self.webhooks = webhooks
    self.sendsNotice = sendsNotice
    afterResetFailures = registry.counter(
      "password_reset_after_reset_failures_total", "New passwords that were not set because an entry of AFTER_RESET failed.")
  }

  /// The rules for new passwords, in one sentence each.
  public var passwordRules: [LocalizableMessage] { passwords.helpTexts }

  /// Accepts a request for a reset email. When it returns, the request is on disk.
  ///
  /// It reads nothing about users, so it cannot reveal whether an account exists: the worker finds out after the response.
  /// - Parameter locale: The language tag of the email.
  public func requestReset(_ form: PasswordResetForm, locale: String, origin: RequestOrigin) async throws(PasswordResetError) {
    let identifier = try validated { () throws(FormErrors) in try form.clean(hasUsernames: context.users.hasUsernames) }
    let job = leases.makeJob(.resetRequest(identifier), locale: locale, requestID: origin.requestID)
    let audit = AuditRecord(.requested, identifierKey: context.identifierHasher.key(for: identifier), clientKey: clientKey(of: origin))
    do {
      leases.start(job, try await context.outbox.enqueue(job, audit: audit))
    } catch {
      leases.cancel(job)
      throw PasswordResetError(error)
    }
  }

  /// Returns whether the link can set a password. It changes nothing, so a mail scanner that opens the link does not
  /// use it up.
  public func checkLink(uidb64: String, token: String, origin: RequestOrigin) async throws(PasswordResetError) -> LinkStatus {
    try await verifyLink(uidb64: uidb64, token: token, origin).status
  }

  /// Sets the password in the form if the link is good, or only checks it if the form says so.
  ///
  /// The order is link, fields, former passwords, hash, swap. So an invalid link costs no hashing, a refused password does not use
  /// up the link, and the database decides which one of several concurrent calls with the same link succeeds. The former passwords
  /// cannot change between their check and a swap that succeeds, because each change of them changes the user as well.
  /// - Parameter locale: The language tag of the notice.
  public func setPassword(_ form: SetPasswordForm, uidb64: String, token: String, locale: String, origin: RequestOrigin)
    async throws(PasswordResetError)
  {
    let (user, status) = try await verifyLink(uidb64: uidb64, token: token, origin)
    guard case .valid = status, let user else { throw status == .expired ? .expiredLink : .invalidLink }
    let password = try await validatedPassword(form, for: user)
    try await checkReuse(of: password, by: user, form.ruleField)
    if form.isCheckOnly { return }
    let newHash = try await encode(password)
    let notice =
      sendsNotice && !user.email.isEmpty
      ? [leases.makeJob(.changedNotice(userID: user.id, recipient: user.email), locale: locale, requestID: origin.requestID)] : []
    let report = webhooks.makeJobs(.completed, userID: user.id, requestID: origin.requestID)
    var change = PasswordChange(user: user, newHash: newHash, event: .reset, requestID: origin.requestID, jobs: notice + report)
    (change.linkTime, change.clientKey) = (TokenTime(of: token), clientKey(of: origin))
    change.formerPasswordsToKeep = passwords.formerPasswordsToKeep(replacing: user.password)
    guard let jobs = try await swap(change) else {
      record(.linkInvalid, user.id, origin)
      throw .invalidLink
    }
    start(change.jobs, jobs)
  }

  /// Makes all reset links of a user dead that were made until now, if the link is that user's cancel link or a valid reset link.
  ///
  /// The caller learns nothing: it returns in the same way for any other link.
  public func cancelLinks(uidb64: String, token: String, origin: RequestOrigin) async throws(PasswordResetError) {
    let (id, user) = try await findUser(uidb64)
    let now = context.now()
    // Check both, so that the time does not depend on the kind of the link.
    let ofCancelLink = context.cancelTokens.check(token, for: .ofCancelLink(id ?? Self.decoy.id), at: now)
    let ofResetLink = context.tokenGenerator.check(token, for: user?.tokenSubject ?? decoySubject(), at: now)
    var through = context.tokenGenerator.lastTokenTime(until: now)
    switch (id, ofCancelLink, ofResetLink) {
    case (let id?, .valid, _):
      try await cancel(id, through, origin)
    case (let id?, _, .valid) where user?.isActive == true:
      // The clock of the process that made the link may be ahead.
      if let time = TokenTime(of: token) { through = max(through, time) }
      try await cancel(id, through, origin)
    default:
      record(.linkInvalid, id, origin)
    }
  }

  private func cancel(_ id: UserID, _ through: TokenTime, _ origin: RequestOrigin) async throws(PasswordResetError) {
    var cancellation = LinkCancellation(userID: id, through: through, requestID: origin.requestID, clientKey: clientKey(of: origin))
    cancellation.jobs = webhooks.makeJobs(.cancelled, userID: id, requestID: origin.requestID)
    do {
      let jobs = try await context.users.cancelLinks(cancellation, at: context.now())
      start(cancellation.jobs, jobs)
    } catch {
      for job in cancellation.jobs { webhooks.leases.cancel(job) }
      throw PasswordResetError(error)
    }
  }

  /// The user whose token is checked when the user does not exist. Its values have typical lengths.
  private static let decoy = User(
    id: UserID(0), username: "", email: "decoy1@example.com",
    password: "pbkdf2_sha256$1500000$0123456789abcdefghijkl$" + String(repeating: "0", count: 44), lastLogin: "2001-01-01 00:00:00")

  /// Returns the subject that is checked when the user does not exist, with as many steps as that of a user.
  private func decoySubject() -> TokenSubject {
    var decoy = Self.decoy
    if context.users.linkFormat != .django { decoy.addresses = [EmailAddress(decoy.email, isVerified: true)] }
    return decoy.tokenSubject
  }

  private func verifyLink(uidb64: String, token: String, _ origin: RequestOrigin) async throws(PasswordResetError) -> (User?, status: LinkStatus) {
    let (id, user) = try await findUser(uidb64)
    // The decoy's token is checked so that an unknown user takes as long as a wrong token.
    let verdict = context.tokenGenerator.check(token, for: user?.tokenSubject ?? decoySubject(), at: context.now())
    let status: LinkStatus =
      switch verdict {
      case .valid(let expiresAt) where user?.isActive == true: .valid(expiresAt: expiresAt)
      case .expired where user?.isActive == true: .expired
      default: .invalid
      }
    if status == .invalid { record(.linkInvalid, id, origin) }
    if status == .expired { record(.linkExpired, id, origin) }
    return (user, status)
  }

  /// Returns the key in a link, if it is one, and the user with it, if there is one.
  private func findUser(_ uidb64: String) async throws(PasswordResetError) -> (UserID?, User?) {
    guard let id = context.users.linkFormat.decode(uidb64).flatMap({ context.users.userID($0.text) }) else { return (nil, nil) }
    do { return (id, try await context.users.user(id: id)) } catch { throw PasswordResetError(error) }
  }

  /// Audits what was done with a link. The key in the link is audited whether or not the user exists, so that the audit does not
  /// reveal which keys are real.
  private func record(_ event: AuditEvent, _ id: UserID?, _ origin: RequestOrigin) {
    auditTrail.record(AuditRecord(event, userID: id, clientKey: clientKey(of: origin)), requestID: origin.requestID)
  }

  private func clientKey(of origin: RequestOrigin) -> String? { origin.clientNetwork.map(context.identifierHasher.key(forClient:)) }

  private func validatedPassword(_ form: SetPasswordForm, for user: User) async throws(PasswordResetError) -> String {
    do { return try await form.clean(for: user.attributes, policy: passwords) } catch { throw .validation(error) }
  }

  /// Throws if the user has or had the password and the rules refuse that.
  /// - Parameter field: The field that has the error.
  private func checkReuse(of password: String, by user: User, _ field: String) async throws(PasswordResetError) {
    guard passwords.checksReuse else { return }
    do {
      let count = passwords.formerPasswordCount
      let former = count > 0 ? try await context.users.formerPasswords(of: user.id, limit: count) : []
      try await hashing.run { [passwords] in try passwords.checkReuse(of: password, current: user.password, former: former) }
    } catch let error as FieldError {
      throw .validation(FormErrors([field: [error]]))
    } catch let error as StoreError {
      throw PasswordResetError(error)
    } catch {
      throw .unavailable(reason: "password hashing: \(error)")
    }
  }

  private func encode(_ password: String) async throws(PasswordResetError) -> String {
    do {
      return try await hashing.run { [passwords] in try passwords.encode(password) }
    } catch {
      throw .unavailable(reason: "password hashing: \(error)")
    }
  }

  /// Passes committed jobs to their workers. The store may have added only the first ones.
  private func start(_ jobs: [NewJob], _ committed: [Job]) {
    for (new, job) in zip(jobs, committed) { leases(of: new).start(new, job) }
    for new in jobs.dropFirst(committed.count) { leases(of: new).cancel(new) }
  }

  private func leases(of job: NewJob) -> LeaseKeeper { job.kind.channel == .webhook ? webhooks.leases : leases }

  /// Commits the change; if it is not committed, the leases of its jobs end.
  private func swap(_ change: PasswordChange) async throws(PasswordResetError) -> [Job]? {
    do {
      if let jobs = try await context.users.setPassword(change, at: context.now()) { return jobs }
      for job in change.jobs { leases(of: job).cancel(job) }
      return nil
    } catch {
      for job in change.jobs { leases(of: job).cancel(job) }
      if case .afterReset(let reason) = error {
        afterResetFailures.increment()
        auditTrail.record(AuditRecord(afterResetFailure: reason, of: change), requestID: change.requestID)
      }
      throw PasswordResetError(error)
    }
  }

  private func validated<Result>(_ check: () throws(FormErrors) -> Result) throws(PasswordResetError) -> Result {
    do { return try check() } catch { throw .validation(error) }
  }
}

extension PasswordResetError {
  fileprivate init(_ error: StoreError) {
    switch error {
    case .unavailable(let reason): self = .unavailable(reason: reason)
    case .overloaded: self = .unavailable(reason: "too many requests are waiting for the disk")
    case .afterReset: self = .unavailable(reason: "\(error)")
    }
  }
}
