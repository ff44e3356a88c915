import Prometheus
import Testing

@Suite struct `Metrics` {
  @Test func `are text for Prometheus`() async {
    let registry = Registry()
    let plain = registry.counter("a_total", "Things.")
    let labelled = registry.counter("b_total", "Others.", labels: ["route", "status"])
    registry.gauge("c", "Now.") { 0.25 }
    registry.gauge("d", "Not to be had.") { nil }
    plain.increment()
    plain.increment(by: 2)
    labelled.increment("/x", "200")
    labelled.increment("/x", "200")
    labelled.increment("a\"b\\c\nd", "404")
    #expect(
      await registry.text() == #"""
        # HELP a_total Things.
        # TYPE a_total counter
        a_total 3
        # HELP b_total Others.
        # TYPE b_total counter
        b_total{route="/x",status="200"} 2
        b_total{route="a\"b\\c\nd",status="404"} 1
        # HELP c Now.
        # TYPE c gauge
        c 0.25

        """#)
  }

  @Test func `of durations are cumulative, and a bucket includes its bound`() async {
    let registry = Registry()
    let times = registry.histogram("t_seconds", "Times.", labels: ["route"], bounds: [0.1, 1, 2.5])
    for value in [0.05, 0.1, 0.2, 1, 3] { times.observe(value, "/x") }
    #expect(
      await registry.text() == """
        # HELP t_seconds Times.
        # TYPE t_seconds histogram
        t_seconds_bucket{route="/x",le="0.1"} 2
        t_seconds_bucket{route="/x",le="1"} 4
        t_seconds_bucket{route="/x",le="2.5"} 4
        t_seconds_bucket{route="/x",le="+Inf"} 5
        t_seconds_sum{route="/x"} 4.35
        t_seconds_count{route="/x"} 5

        """)
  }
}
