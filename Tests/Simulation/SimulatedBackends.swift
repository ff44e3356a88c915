import Credentials
import Foundation
import PasswordReset

/// What the other side makes of a message.
enum Reply {
  case accepted
  /// It accepts the message, and the connection is lost before the sender learns that.
  case lost
  case transient, permanent, outage
}

extension World {
  /// Draws a reply and waits for it. The message is delivered at a moment in between if the reply says so.
  func exchange(_ process: ProcessState, isDown: Bool, deliver: (_ isUnknown: Bool) -> Void) async -> Reply {
    guard process.isAlive else { return .outage }
    let reply = drawReply(isDown: isDown)
    let isHanging = hasFaults && random.chance(plan.hang)
    await park()
    let longest = random.chance(0.2) ? 5 : 0.2
    await pause(random.number(in: 0.001...longest))
    // A message that is on its way when the process dies may arrive.
    guard process.isAlive || random.chance(0.5) else { return .outage }
    if isHanging {
      if reply == .accepted || reply == .lost, random.chance(0.3) { deliver(true) }
      await pause(30)
      return .outage
    }
    if reply == .accepted || reply == .lost { deliver(reply == .lost || !process.isAlive) }
    await pause(random.number(in: 0...0.2))
    return process.isAlive ? reply : .outage
  }

  private func drawReply(isDown: Bool) -> Reply {
    if isDown { return .outage }
    guard hasFaults else { return .accepted }
    if random.chance(plan.transientRefusal) { return .transient }
    if random.chance(plan.permanentRefusal) { return .permanent }
    if random.chance(plan.outage) { return .outage }
    return random.chance(plan.lostReply) ? .lost : .accepted
  }
}

/// The mail server as one process sees it.
struct ServerBackend: MailBackend {
  let world: World
  let process: ProcessState

  func send(_ message: EmailMessage) async throws(MailError) {
    guard process.isAlive else { throw .unavailable(reason: "the process is gone") }
    let parts = message.messageID.split(separator: ".")
    let (requestID, user) = (String(parts[0]), UserID(String(parts[1])))
    let isNotice = message.subject == MailContext.Kind.passwordChanged.rawValue
    let key = isNotice ? "notice \(message.messageID)" : "reset \(message.messageID)"
    let start = world.ledger.next()
    world.log("p\(process.id) sends \(key) to \(message.recipient)")
    check(message, key, requestID, user, isNotice: isNotice)
    process.emails += 1
    defer { process.emails -= 1 }
    if process.emails > world.plan.policy.connections { world.ledger.violate("process \(process.id) sent \(process.emails) emails at once") }
    let reply = await world.exchange(process, isDown: world.isMailServerDown) { isUnknown in
      world.log("p\(process.id) \(key) is delivered")
      world.ledger.delivered(key, requestID: requestID, Ledger.Delivery(process: process.id, start: start, isUnknown: isUnknown))
      if let link = message.resetURL { world.inbox.append(link) }
    }
    switch reply {
    case .accepted: return
    case .lost: throw .transient(reason: "the connection was lost")
    case .transient: throw .transient(reason: "refused for now")
    case .permanent:
      world.ledger.permanentRefusals.insert(key)
      throw .permanent(reason: "refused")
    case .outage: throw .unavailable(reason: "outage")
    }
  }

  private func check(_ message: EmailMessage, _ key: String, _ requestID: String, _ user: UserID, isNotice: Bool) {
    let job = world.ledger.jobs.values.filter { job in
      guard job.requestID == requestID else { return false }
      switch job.kind {
      case .resetRequest: return !isNotice
      case .resetEmail(let id, _): return !isNotice && id == user
      case .changedNotice(let id, _): return isNotice && id == user
      case .webhook: return false
      }
    }.min { $0.id < $1.id }
    let isPunctual = !world.plan.interrupts
    world.ledger.sendBegan(key, job, process.id, .email, requestID: requestID, at: world.now, world.elapsed, isPunctual: isPunctual)
    if isNotice {
      let change = world.ledger.changes[requestID]
      if change == nil || change?.user != user { world.ledger.violate("a notice was sent and no password was changed") }
      if change?.email != message.recipient { world.ledger.violate("a notice went to \(message.recipient)") }
    } else {
      world.ledger.checkRecipient(message.recipient, user, process.id, at: world.elapsed, isPunctual: isPunctual)
    }
  }
}

/// The receiver of webhooks as one process sees it.
struct ReceiverBackend: WebhookBackend {
  /// How many seconds the receiver asks to wait at times.
  static let retryAfter: Double = 90

  let world: World
  let process: ProcessState

  func send(_ message: WebhookMessage) async throws(WebhookError) {
    guard process.isAlive else { throw WebhookError("the process is gone", isOutage: true) }
    let job = world.ledger.jobs.values.first { $0.kind.webhookID == message.id }
    let start = world.ledger.next()
    // A webhook's id is random, so the log names the job.
    let name = "webhook \(job.map { "\($0.id)" } ?? "?") \(message.type) of \(message.requestID)"
    world.log("p\(process.id) sends \(name)")
    let isPunctual = !world.plan.interrupts
    world.ledger.sendBegan(message.id, job, process.id, .webhook, requestID: message.requestID, at: world.now, world.elapsed, isPunctual: isPunctual)
    if message.type == WebhookEvent.completed.rawValue, world.ledger.changes[message.requestID] == nil {
      world.ledger.violate("a webhook reports that a password was changed")
    }
    process.webhooks += 1
    defer { process.webhooks -= 1 }
    if process.webhooks > OutboxPolicy.webhookConnections { world.ledger.violate("process \(process.id) sent \(process.webhooks) webhooks at once") }
    let reply = await world.exchange(process, isDown: world.isReceiverDown) { isUnknown in
      world.log("p\(process.id) \(name) is delivered")
      world.ledger.delivered(
        message.id, requestID: message.requestID, Ledger.Delivery(process: process.id, start: start, isUnknown: isUnknown))
    }
    switch reply {
    case .accepted: return
    case .lost: throw WebhookError("outage after the request", isOutage: true)
    case .transient: throw WebhookError("429, asks", isOutage: false, retryAfter: Self.retryAfter)
    case .permanent: throw WebhookError("500", isOutage: false)
    case .outage: throw WebhookError("outage", isOutage: true)
    }
  }

  func stop() {}
}

extension JobKind {
  var webhookID: String? { if case .webhook(_, _, let id) = self { id } else { nil } }
}

/// Composes emails without text.
struct PlainComposer: EmailComposer {
  func compose(_ email: MailContext) -> EmailMessage {
    var message = EmailMessage(
      sender: "s@example.com", recipient: email.recipient, subject: email.kind.rawValue, body: "", messageID: email.messageKey, date: email.date)
    if let link = email.link { message.resetURL = "\(link.uid) \(link.token)" }
    return message
  }
}
