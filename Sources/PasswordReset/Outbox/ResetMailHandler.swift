import Credentials
import Foundation

/// Handles the jobs that send email: finds the accounts, makes the token, has the email composed, and sends it.
public struct ResetMailHandler: JobHandler {
  /// Seconds after which a user's row is read again before the email is sent.
  private static let freshness: TimeInterval = 2
  /// Seconds over which retries are spread when the limit of all emails was reached, so that they do not all come at once.
  private static let quotaSpread: TimeInterval = 30

  private let context: ResetContext
  private let links: ResetLinkFactory
  private let composer: any EmailComposer
  private let sender: MailSender
  private let leases: LeaseKeeper
  private let policy: OutboxPolicy

  public init(
    context: ResetContext, links: ResetLinkFactory, composer: any EmailComposer, sender: MailSender, leases: LeaseKeeper, policy: OutboxPolicy
  ) {
    self.context = context
    self.links = links
    self.composer = composer
    self.sender = sender
    self.leases = leases
    self.policy = policy
  }

  /// Handles one attempt of a job.
  func handle(_ job: Job) async throws(StoreError) -> JobOutcome {
    guard context.now() <= deadline(of: job) else { return .deadLetter(reason: "too old to be of use", AuditRecord(.mailFailed)) }
    switch job.kind {
    case .resetRequest(let identifier): return try await handleRequest(identifier, job)
    case .resetEmail(let userID, let requested): return try await handleResetEmail(to: userID, requested, job)
    case .changedNotice(let userID, let recipient): return try await handleChangedNotice(to: recipient, userID, job)
    case .webhook: return .deadLetter(reason: "not an email", nil)
    }
  }

  private func handleRequest(_ identifier: AccountIdentifier, _ job: Job) async throws(StoreError) -> JobOutcome {
    let recipients = identifier.recipients(among: try await context.users.users(matching: identifier), context.passwordFormat)
    let key = context.identifierHasher.key(for: identifier)
    guard let first = recipients.first else {
      guard let damaged = try await context.users.damagedUser(matching: identifier) else {
        return .done(AuditRecord(.noAccount, identifierKey: key))
      }
      return .deadLetter(
        reason: "the row of user \(damaged) is damaged; fix it, then retry this job", AuditRecord(.mailFailed, userID: damaged, identifierKey: key))
    }
    if recipients.count == 1 { return try await send(.passwordReset, to: first.address, first.user, job) }
    // The oldest accounts come first, so a stranger who adds accounts with someone's address cannot push out that person's own.
    let served = recipients.prefix(policy.accountsPerRequest).map(\.user.id)
    return .split(served, served.count < recipients.count ? AuditRecord(.suppressed, identifierKey: key) : nil)
  }

  private func handleResetEmail(to userID: UserID, _ requested: String?, _ job: Job) async throws(StoreError) -> JobOutcome {
    // The address may be no longer the user's.
    guard let user = try await context.users.user(id: userID),
      let recipient = AccountIdentifier.email(requested ?? user.email).recipients(among: [user], context.passwordFormat).first
    else { return .done(AuditRecord(.noAccount, userID: userID)) }
    return try await send(.passwordReset, to: recipient.address, user, job)
  }

  private func handleChangedNotice(to recipient: String, _ userID: UserID, _ job: Job) async throws(StoreError) -> JobOutcome {
    guard let user = try await context.users.user(id: userID) else { return .done(AuditRecord(.noAccount, userID: userID)) }
    return try await send(.passwordChanged, to: recipient, user, job)
  }

  /// Reserves the email against its limits, waits for a slot, checks that nothing has changed meanwhile, and sends.
  private func send(_ kind: MailContext.Kind, to recipient: String, _ user: User, _ job: Job) async throws(StoreError) -> JobOutcome {
    let addressKey = context.identifierHasher.key(for: recipient)
    func record(_ event: AuditEvent) -> AuditRecord { AuditRecord(event, userID: user.id, identifierKey: addressKey) }
    let start = context.now()
    switch try await allowance(for: kind, to: addressKey, user, job) {
    case .granted: break
    case .refused: return .done(record(.suppressed))
    case .later(let next):
      let date = next.addingTimeInterval(policy.random(0...Self.quotaSpread))
      guard date <= deadline(of: job) else {
        return .deadLetter(reason: "too old to be of use when RATE_LIMIT_MAILS_TOTAL leaves room", record(.mailFailed))
      }
      return .retry(at: date, reason: "RATE_LIMIT_MAILS_TOTAL is used up")
    }
    let slot: SendGate.Slot
    switch await sender.gate.slot(before: deadline(of: job)) {
    case .slot(let granted): slot = granted
    case .refused: return .release
    case .tooLate: return .deadLetter(reason: "too old to be of use when its turn comes; see EMAIL_RATE_LIMIT", record(.mailFailed))
    }
    // The lease last, because it may run out while the user is read.
    guard await isUnchanged(user, since: start), await leases.isHeld(job) else { return .release }
    // Composed only now, so that the link lives as long as the email says.
    let message = composer.compose(email(kind, to: recipient, user, job))
    switch await sender.send(message, of: job, in: slot) {
    case .sent: return .done(record(.mailed))
    case .notAttempted: return .release
    case .failed(.permanent(let reason)): return .deadLetter(reason: reason, record(.mailFailed))
    case .failed(.transient(let reason)): return retry(job, at: backoff(job, policy.maxBackoff), reason, record(.mailFailed))
    case .failed(.unavailable(let reason)): return retry(job, at: backoff(job, policy.maxProbeInterval), reason, record(.mailFailed))
    }
  }

  /// A changed notice counts against the limits of all emails only: no one can flood a mailbox with it.
  private func allowance(for kind: MailContext.Kind, to addressKey: String, _ user: User, _ job: Job) async throws(StoreError) -> EmailAllowance {
    let limits = kind == .passwordReset ? policy.emailLimits : []
    guard !limits.isEmpty || !policy.totalEmailLimits.isEmpty else { return .granted }
    let email = EmailReservation(
      addressKey: kind == .passwordReset ? addressKey : nil, requestID: job.requestID, userID: user.id, limits: limits,
      totalLimits: policy.totalEmailLimits)
    return try await context.outbox.reserve(email, now: context.now)
  }

  private func email(_ kind: MailContext.Kind, to recipient: String, _ user: User, _ job: Job) -> MailContext {
    let date = context.now()
    // Emails of one request differ by the user; a reset email and a notice never share a request id.
    return MailContext(
      kind: kind, user: user, recipient: recipient, link: kind == .passwordReset ? links.makeLink(for: user, at: date) : nil,
      cancelURL: links.makeCancelURL(for: user, at: date), locale: job.locale, time: job.createdAt, messageKey: "\(job.requestID).\(user.id)",
      date: date)
  }

  private func isUnchanged(_ user: User, since start: Date) async -> Bool {
    // A negative age means that the clock was set back, so the age is unknown.
    if (0...Self.freshness).contains(context.now().timeIntervalSince(start)) { return true }
    do { return try await context.users.user(id: user.id) == user } catch { return false }
  }

  private func deadline(of job: Job) -> Date { job.ttlStart.addingTimeInterval(policy.timeToLive) }

  private func backoff(_ job: Job, _ longest: TimeInterval) -> Date {
    context.now().addingTimeInterval(policy.backoff(after: job.attempts, longest: longest))
  }

  private func retry(_ job: Job, at date: Date, _ reason: String, _ audit: AuditRecord) -> JobOutcome {
    guard date <= deadline(of: job) else { return .deadLetter(reason: "\(job.attempts) attempts failed, the last one: \(reason)", audit) }
    return .retry(at: date, reason: reason)
  }
}
