/// The connections of a store to its server, for the metrics. A store that opens a file has none.
public protocol DatabaseConnections: Sendable {
  func connections() -> [ConnectionState]
}

/// The connections that serve one purpose.
public struct ConnectionState: Sendable, Equatable {
  /// What they are for, a label of the metrics.
  public var purpose: String
  /// How many are open.
  public var open: Int
  /// How many requests wait for one of them, without those that are being answered.
  public var waiting: Int
  /// How often a lost one was replaced.
  public var reconnects: Int

  public init(purpose: String, open: Int, waiting: Int, reconnects: Int) {
    self.purpose = purpose
    self.open = open
    self.waiting = waiting
    self.reconnects = reconnects
  }
}
