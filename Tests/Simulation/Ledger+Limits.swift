import Foundation
import PasswordReset

extension Ledger {
  /// Checks that an email that may be sent is within the limits of its address.
  mutating func reserved(_ email: EmailReservation, _ allowance: EmailAllowance, at now: Date) {
    guard let key = email.addressKey, allowance == .granted, lastClockChange == 0 else { return }
    let grants = (granted[key] ?? []).filter { $0.at.milliseconds >= now.addingTimeInterval(-86400).milliseconds }
    // Another attempt counts as the first one.
    if grants.contains(where: { $0.request == email.requestID && $0.user == email.userID }) { return }
    for limit in email.limits {
      let recent = grants.filter { $0.at.milliseconds > now.addingTimeInterval(-Double(limit.seconds)).milliseconds }
      let others = Set(recent.map(\.request)).subtracting([email.requestID])
      if others.count >= limit.count { violate("request \(email.requestID) exceeds the limit of its address") }
    }
    granted[key, default: []].append((email.requestID, email.userID, now))
  }
}
