import Credentials
import Foundation
import PasswordReset

extension Ledger {
  /// Identifies an email: all attempts have the same key.
  static func key(_ kind: JobKind, _ requestID: String, _ user: UserID) -> String {
    if case .changedNotice = kind { "notice \(requestID).\(user)" } else { "reset \(requestID).\(user)" }
  }

  mutating func sendBegan(
    _ key: String, _ job: MemoryStore.Record?, _ process: Int, _ channel: JobChannel, requestID: String, at now: Date, _ elapsed: Double,
    isPunctual: Bool
  ) {
    sendCount += 1
    // An operator's retry ends the lease, which the worker need not notice.
    guard retried[requestID] == nil else { return }
    // The clock may be set between the check of the lease and the email.
    guard isPunctual || lastClockChange == 0 else { return }
    if lateClaims.contains(requestID) { return }
    // The lease may be one of before the clock was set, by which it is not over, or that another process took by the clock as it was then.
    if lastLeap < lastClockChange ? elapsed - clockChangedAt < 60 : lastClockChange > 0 { return }
    // If a former holder of the lease has recorded that it sent this, only the rule for duplicates applies.
    if job == nil, deliveries[key] != nil { return }
    guard let job, let owner = owners[process]?[channel], job.owner == owner, job.deadLetteredAt == nil else {
      return violate("process \(process) sent for request \(requestID) without the lease")
    }
    if isPunctual, job.dueAt <= now.milliseconds { violate("process \(process) sent job \(job.id) after its lease") }
  }

  /// Checks that a reset email goes to the address that the process has just read.
  mutating func checkRecipient(_ recipient: String, _ user: UserID, _ process: Int, at elapsed: Double, isPunctual: Bool) {
    guard let reading = readings[process]?[user]?.last(where: { $0.email == recipient }) else {
      return violate("an email went to \(recipient), which is not the address of user \(user)")
    }
    // The clock does not show the age of a reading from before it was set back by that age. This reading may be that of another job.
    guard isPunctual, lastLeap < reading.event, elapsed - clockChangedAt > 60, slowCheck[process] ?? 0 < reading.event else { return }
    if elapsed - reading.elapsed > 2.1 { violate("an email was sent \(elapsed - reading.elapsed) s after its user was read") }
  }

  mutating func delivered(_ key: String, requestID: String, _ delivery: Delivery) {
    if let earlier = deliveries[key] {
      duplicateCount += 1
      let faults = max(lastFault[earlier.process] ?? 0, lastFault[delivery.process] ?? 0)
      let excuse = max(lastLeap, lastClockChange, faults)
      let isSlow = [earlier.process, delivery.process].contains { slowCalls[$0] ?? 0 > 0 }
      let isExcused = earlier.isUnknown || isSlow || retried[requestID] != nil || lateClaims.contains(requestID) || repeatedReports.contains(key)
      if isExcused { return deliveries[key] = delivery }
      if excuse < min(earlier.start, delivery.start) { violate("\(key) was sent twice without a reason") }
    }
    deliveries[key] = delivery
  }
}
