package import Credentials

/// How a kind of job is written to the columns of the outbox.
extension JobKind {
  /// The kind of all jobs of ``JobChannel/webhook``, and of no others.
  package static let webhookKind = "webhook"

  package typealias Columns = (kind: String, identifier: String?, userID: UserID?)

  package var columns: Columns {
    switch self {
    case .resetRequest(.email(let address)): ("request_email", address, nil)
    case .resetRequest(.username(let name)): ("request_username", name, nil)
    case .resetEmail(let userID, let address): ("reset_email", address, userID)
    case .changedNotice(let userID, let recipient): ("changed_notice", recipient, userID)
    case .webhook(let event, let userID, let messageID): (Self.webhookKind, "\(event.rawValue) \(messageID)", userID)
    }
  }

  /// The address that a request names, which the emails to several accounts keep. A request that names a user has none.
  package var requestedAddress: String? {
    if case .resetRequest(.email(let address)) = self { address } else { nil }
  }

  /// Reads the columns, or returns `nil` if they are those of a damaged row or of a newer release.
  package init?(kind: String?, identifier: String?, userID: UserID?) {
    switch (kind, identifier, userID) {
    case ("request_email", let address?, _): self = .resetRequest(.email(address))
    case ("request_username", let name?, _): self = .resetRequest(.username(name))
    case ("reset_email", let address, let userID?): self = .resetEmail(userID: userID, requested: address)
    case ("changed_notice", let recipient?, let userID?): self = .changedNotice(userID: userID, recipient: recipient)
    case (Self.webhookKind, let text?, let userID):
      let parts = text.split(separator: " ")
      guard parts.count == 2, let event = WebhookEvent(rawValue: String(parts[0])) else { return nil }
      self = .webhook(event, userID: userID, messageID: String(parts[1]))
    default: return nil
    }
  }
}
