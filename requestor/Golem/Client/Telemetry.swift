import CoreMetrics
import Tracing

/// What this library tells of itself: counters through swift-metrics, spans through swift-distributed-tracing. They go to
/// whatever the program has set up for these; where it has set up nothing, nothing happens.
///
/// Names and meanings are listed in this module's README.
enum Telemetry {
    /// Offers that came, by whether they may be taken.
    static func offer(isRefused: Bool) {
        let outcome = isRefused ? "refused" : "considered"
        Counter(label: "golem_offers_total", dimensions: [("outcome", outcome)]).increment()
    }

    /// Negotiations that are over: an agreement was approved, or there is none.
    static func negotiation(isApproved: Bool) {
        let outcome = isApproved ? "approved" : "failed"
        Counter(label: "golem_negotiations_total", dimensions: [("outcome", outcome)]).increment()
    }

    static func machineReady() {
        Counter(label: "golem_machines_total", dimensions: [("outcome", "ready")]).increment()
    }

    static func machineLost() {
        Counter(label: "golem_machines_total", dimensions: [("outcome", "lost")]).increment()
    }

    /// Of files, in either direction.
    static func transferred(_ bytes: Int, direction: String) {
        Counter(label: "golem_transfer_bytes_total", dimensions: [("direction", direction)]).increment(by: bytes)
    }

    /// GLM of invoices. To be kept: a backend that knows whole numbers only is given what has come together.
    static func acceptedGLM() -> FloatingPointCounter { FloatingPointCounter(label: "golem_accepted_glm_total") }

    static func billRefused() { Counter(label: "golem_refused_bills_total").increment() }
}

/// What a rental spends its time on, one span after the other, until its machine is ready or it is over.
struct RentalSpans {
    private var current: (any Span)?
    private var wasApproved = false

    mutating func follow(_ action: RentalStateMachine.Action) {
        switch action {
        case .counter: begin("golem.negotiate")
        case .createActivity:
            wasApproved = true
            Telemetry.negotiation(isApproved: true)
            begin("golem.deploy")
        case .announceReady:
            Telemetry.machineReady()
            end()
        case .announceLost:
            Telemetry.machineLost()
            end()
        case .announceClosing: end()
        default: break
        }
    }

    /// The rental is over.
    mutating func finish(_ outcome: RentalStateMachine.Outcome, _ whole: any Span) {
        if !wasApproved { Telemetry.negotiation(isApproved: false) }
        if outcome.blame {
            let status = SpanStatus(code: .error, message: outcome.reason)
            whole.setStatus(status)
            current?.setStatus(status)
        }
        end()
    }

    private mutating func begin(_ name: String) {
        end()
        current = startSpan(name)
    }

    private mutating func end() {
        current?.end()
        current = nil
    }
}
