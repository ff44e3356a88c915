public import Credentials
public import Foundation

/// Deals with one outbox entry: finds whom it concerns, makes the token, has the mail written and hands it over.
public struct Courier: Sendable {
  private let users: any UserStore
  private let outbox: any OutboxStore
  private let tokenGenerator: PasswordResetTokenGenerator
  private let identifierHasher: IdentifierHasher
  private let resetURL: ResetURL
  private let timeout: Int
  private let compose: MailComposer
  private let backend: any MailBackend
  private let policy: OutboxPolicy
  private let now: @Sendable () -> Date

  /// - Parameter timeout: `PASSWORD_RESET_TIMEOUT`, which the mail tells the reader.
  public init(
    users: any UserStore, outbox: any OutboxStore, tokenGenerator: PasswordResetTokenGenerator, identifierHasher: IdentifierHasher,
    resetURL: ResetURL,
    timeout: Int, compose: @escaping MailComposer, backend: any MailBackend, policy: OutboxPolicy, now: @escaping @Sendable () -> Date
  ) {
    self.users = users
    self.outbox = outbox
    self.tokenGenerator = tokenGenerator
    self.identifierHasher = identifierHasher
    self.resetURL = resetURL
    self.timeout = timeout
    self.compose = compose
    self.backend = backend
    self.policy = policy
    self.now = now
  }

  func deliver(_ entry: OutboxEntry) async throws(StoreError) -> (OutboxOutcome, AuditRecord?) {
    guard now().timeIntervalSince(entry.createdAt) <= policy.lifetime else {
      return (.bury(reason: "too old to be of use"), AuditRecord(.mailFailed))
    }
    switch entry.item {
    case .request(let identifier): return try await answer(identifier, of: entry)
    case .resetMail(let userID):
      guard let user = try await users.user(id: userID), user.mayReset else { return (.done, AuditRecord(.noAccount, userID: userID)) }
      return try await sendReset(to: user, for: entry)
    case .changedMail(let userID, let recipient):
      guard let user = try await users.user(id: userID) else { return (.done, AuditRecord(.noAccount, userID: userID)) }
      return await send(mail(.passwordChanged, to: recipient, user: user, for: entry), for: entry)
    }
  }

  private func answer(_ identifier: Identifier, of entry: OutboxEntry) async throws(StoreError) -> (OutboxOutcome, AuditRecord?) {
    let concerned = try await users.users(matching: identifier).filter { identifier.means($0) && $0.mayReset }
    switch concerned.count {
    case 0: return (.done, AuditRecord(.noAccount, identifierKey: key(of: identifier)))
    case 1: return try await sendReset(to: concerned[0], for: entry)
    default: return (.split(userIDs: concerned.map(\.id)), nil)
    }
  }

  private func sendReset(to user: User, for entry: OutboxEntry) async throws(StoreError) -> (OutboxOutcome, AuditRecord?) {
    let addressKey = identifierHasher.key(for: user.email)
    if !policy.mailLimits.isEmpty {
      let allowed = try await outbox.reserveMail(to: addressKey, requestID: entry.requestID, limits: policy.mailLimits, at: now())
      guard allowed else { return (.done, AuditRecord(.suppressed, userID: user.id, identifierKey: addressKey)) }
    }
    var mail = mail(.passwordReset, to: user.email, user: user, for: entry)
    let uid = UIDB64.encode(user.id)
    let token = tokenGenerator.makeToken(for: user.tokenSubject, at: mail.date)
    mail.link = MailContext.Link(
      uid: uid, token: token, url: resetURL.link(uid: uid, token: token), scheme: resetURL.scheme, domain: resetURL.domain, lifetime: timeout)
    return await send(mail, for: entry)
  }

  private func mail(_ kind: MailContext.Kind, to recipient: String, user: User, for entry: OutboxEntry) -> MailContext {
    // A reset mail and a notice never share a request id; accounts of one request are told apart by the user's key.
    MailContext(
      kind: kind, user: user, recipient: recipient, link: nil, locale: entry.locale, messageKey: "\(entry.requestID).\(user.id)", date: now())
  }

  private func send(_ mail: MailContext, for entry: OutboxEntry) async -> (OutboxOutcome, AuditRecord?) {
    func record(_ event: AuditEvent) -> AuditRecord {
      AuditRecord(event, userID: mail.user.id, identifierKey: identifierHasher.key(for: mail.recipient))
    }
    do {
      try await backend.send(compose(mail))
      return (.done, record(.mailed))
    } catch {
      switch error {
      case .permanent(let reason): return (.bury(reason: reason), record(.mailFailed))
      case .transient(let reason):
        let retry = now().addingTimeInterval(backoff(after: entry.attempts))
        guard retry.timeIntervalSince(entry.createdAt) <= policy.lifetime else {
          return (.bury(reason: "given up after \(entry.attempts) attempts: \(reason)"), record(.mailFailed))
        }
        return (.retry(at: retry, reason: reason), nil)
      }
    }
  }

  /// Doubles with each attempt up to the longest, and varies by half, so that what failed together does not come back together.
  private func backoff(after attempts: Int) -> TimeInterval {
    let wait = policy.firstRetry * pow(2, Double(min(attempts, 30) - 1))
    return min(wait, policy.longestRetry) * .random(in: 0.5...1.5)
  }

  private func key(of identifier: Identifier) -> String {
    switch identifier {
    case .email(let text), .username(let text): identifierHasher.key(for: text)
    }
  }
}
