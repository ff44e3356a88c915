import Foundation
import Synchronization

/// The offsets of a time zone from UTC and the moments at which they change.
///
/// Foundation needs microseconds to find a change, so the periods that were asked for last are remembered.
final class ZoneOffsets: Sendable {
  /// A period in which the offset is the same. Times are in Unix seconds.
  struct Period {
    /// The first second of the period that is known; it may have begun earlier.
    var start: Int
    /// The first second after the period.
    var end: Int
    var offset: Int
  }

  private let timeZone: TimeZone
  private let known = Mutex<[Period]>([])

  init(_ timeZone: TimeZone) { self.timeZone = timeZone }

  func period(at time: Int) -> Period {
    if let period = known.withLock({ $0.first { $0.start <= time && time < $0.end } }) { return period }
    let date = Date(timeIntervalSince1970: Double(time))
    let end = timeZone.nextDaylightSavingTimeTransition(after: date).map { Int($0.timeIntervalSince1970.rounded(.up)) } ?? .max
    let period = Period(start: time, end: max(end, time + 1), offset: timeZone.secondsFromGMT(for: date))
    // The period of now, and the one in which links expire.
    known.withLock { $0 = [period] + $0.prefix(1) }
    return period
  }
}
