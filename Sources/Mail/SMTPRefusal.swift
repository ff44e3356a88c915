import Foundation

/// The cause of a refusal that concerns every recipient alike, so that no email may be dead-lettered for it.
enum SMTPRefusal: Equatable {
  /// The server does not accept the name in EHLO.
  case clientName
  /// The server does not accept this machine.
  case client
  /// The server requires a login.
  case authentication
  /// The server requires TLS.
  case encryption
  /// The sender may not send.
  case sender
  /// SPF, DKIM, DMARC or reverse DNS of the sender's domain is missing or wrong.
  case domainRecords
  /// The server does not send email to other domains for this machine.
  case relaying
  /// The account has sent too many emails.
  case quota

  /// What the server refused.
  enum Stage {
    case mail, recipient, data, text
  }

  /// Finds the cause of a refusal, or returns `nil` if it concerns only this email.
  ///
  /// Servers answer RCPT with refusals of the client and the sender, too, so the server's text decides. Addresses are removed from it
  /// first, because a stranger can choose a user's address.
  init?(_ reply: SMTPSession.Reply, at stage: Stage, recipient: String) {
    let text = Self.words(of: reply.text, without: recipient)
    let status = Self.enhancedStatus(in: reply.text)
    if let cause = Self.cause(ofStatus: status) {
      self = cause
    } else if [530, 534, 535, 538].contains(reply.code) {
      self = text.contains(/tls|ssl|encrypt/) ? .encryption : .authentication
    } else if stage == .text || stage != .mail && Self.isAboutRecipient(status, text) {
      guard stage == .text, text.contains(/send ?as(denied|\b)|permissions? to send/) else { return nil }
      self = .sender
    } else if let cause = Self.cause(ofText: text) {
      self = cause
    } else if reply.code == 504 {
      self = .clientName
    } else if stage == .mail, reply.code >= 500, reply.code != 552, !status.hasPrefix("2."), !status.hasPrefix("3."), !status.hasPrefix("6.") {
      // MAIL names no recipient.
      self = .sender
    } else {
      return nil
    }
  }

  /// The codes of RFC 3463 and its registry, without their first digit, and Microsoft's.
  private static func cause(ofStatus status: String) -> SMTPRefusal? {
    switch status {
    case "1.7", "1.8", "7.27", "7.60": .sender
    case "4.5": .quota
    case "7.3", "7.8", "7.9", "7.14", "7.30", "7.57", "7.139": .authentication
    case "7.10", "7.11": .encryption
    case "7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26": .domainRecords
    case "7.54", "7.64": .relaying
    default: nil
    }
  }

  private static func isAboutRecipient(_ status: String, _ text: String) -> Bool {
    status.hasPrefix("2.") || ["1.1", "1.2", "1.3", "1.6", "1.10"].contains(status)
      || text.contains(/recipient address rejected|user unknown|unknown user|no such (user|mailbox|recipient)|mailbox/)
  }

  private static func cause(ofText text: String) -> SMTPRefusal? {
    if text.contains(/\b(helo|ehlo)\b/) { return .clientName }
    if text.contains(/starttls|encryption (is )?(required|needed)|(tls|ssl) (is )?required|must use (tls|ssl)/) { return .encryption }
    if text.contains(/authentication|authenticate\b|not authenticated|not logged in|log ?in first|login required/) { return .authentication }
    if text.contains(/\brelay/) { return .relaying }
    if text.contains(/\bsender|send ?as\b|mail from\b|from address|not owned by|permissions? to send/) { return .sender }
    if text.contains(/client host|client was not|block ?list|black ?list|blocked using|dnsbl|\bip\b|reverse dns|\brdns\b|\bptr\b/) { return .client }
    return nil
  }

  /// Returns the text in lowercase, without anything in angle brackets, without addresses and without the recipient's name.
  private static func words(of text: String, without recipient: String) -> String {
    let name = recipient.lowercased().prefix { $0 != "@" }
    var isInBrackets = false
    let outside = text.lowercased().filter { character in
      if character == "<" { isInBrackets = true }
      defer { if character == ">" { isInBrackets = false } }
      return !isInBrackets
    }
    let words = outside.split(whereSeparator: \.isWhitespace).filter { word in
      !word.contains("@") && word.trimmingCharacters(in: .punctuationCharacters) != name
    }
    return words.joined(separator: " ")
  }

  /// Returns the enhanced status code (RFC 3463) without its first digit, such as `7.1`, or an empty text.
  private static func enhancedStatus(in text: String) -> String {
    guard let match = text.prefixMatch(of: /\s*[245]\.(\d{1,3}\.\d{1,3})\b/) else { return "" }
    return String(match.1)
  }

  /// What to change, as the rest of a reason.
  func remedy(clientName: String) -> String {
    switch self {
    case .clientName:
      "; the server does not accept the client name \(clientName), which EHLO gives: set EMAIL_HELO_NAME to a name of this host that it accepts"
    case .client: "; the server does not accept email from this machine: check EMAIL_HOST, or ask the server's operator to admit its address"
    case .authentication: "; the server requires a login: check EMAIL_HOST_USER and EMAIL_HOST_PASSWORD or EMAIL_OAUTH2_TOKEN_FILE"
    case .encryption: "; the server requires TLS: set EMAIL_USE_TLS or EMAIL_USE_SSL"
    case .sender: "; the server does not accept this sender: set DEFAULT_FROM_EMAIL to an address that may send here, or check EMAIL_HOST_USER"
    case .domainRecords: "; the server requires SPF, DKIM, DMARC or reverse DNS: check these records for the domain of DEFAULT_FROM_EMAIL"
    case .relaying:
      "; the server does not relay for this machine: set EMAIL_HOST_USER and EMAIL_HOST_PASSWORD, or have the machine's address admitted there"
    case .quota: "; the quota of this sender is used up: lower EMAIL_RATE_LIMIT or RATE_LIMIT_MAILS_TOTAL, or use a relay with a higher quota"
    }
  }
}
