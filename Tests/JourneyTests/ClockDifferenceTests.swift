import Foundation
import Testing

@testable import PostgresStore

@Suite struct `The clock of a PostgreSQL server` {
  /// The query takes two seconds.
  private func message(server: Double) -> String? {
    ClockDifference.risk(server: server, start: Date(timeIntervalSince1970: 1000), end: Date(timeIntervalSince1970: 1002))?.message
  }

  @Test(arguments: [995.0, 1000, 1001, 1002, 1007])
  func `agrees with this machine's up to five seconds before and after the query`(server: Double) { #expect(message(server: server) == nil) }

  @Test func `is reported with the difference and the clock that is ahead`() {
    #expect(message(server: 1010.5) == "The PostgreSQL server's clock is 8 seconds ahead of this machine's.")
    #expect(message(server: 994) == "This machine's clock is 6 seconds ahead of the PostgreSQL server's.")
    #expect(message(server: 1002 + 3600) == "The PostgreSQL server's clock is 60 minutes ahead of this machine's.")
  }
}
