/// When a service is checked, started again, moved to another machine or given up.
package struct ServiceStateMachine: Sendable {
    package enum Event: Sendable, Equatable {
        case started
        case startFailed(String)
        case checkPassed
        case checkFailed(String)
        case machineLost(String)
    }

    /// What is to be done next; exactly one thing at a time.
    package enum Step: Sendable, Equatable {
        /// `fresh`: in another machine.
        case start(fresh: Bool, after: Duration)
        case check(after: Duration)
        case giveUp(String)
    }

    private let failuresAllowed: Int
    private let checkInterval: Duration
    private let restart: RestartPolicy
    /// Checks that failed in a row.
    private var failedChecks = 0
    /// All restarts.
    package private(set) var restarts = 0
    /// Restarts since the service last ran for long, and those of them in the present machine.
    private var row = 0
    private var rowInPlace = 0
    private var lastFailure: Timestamp?

    package init(_ plan: ServicePlan) {
        failuresAllowed = max(1, plan.failuresAllowed)
        checkInterval = plan.checkInterval
        restart = plan.restart
    }

    package let first = Step.start(fresh: true, after: .zero)

    package mutating func handle(_ event: Event, at now: Timestamp) -> Step {
        switch event {
        case .started, .checkPassed:
            failedChecks = 0
            return .check(after: checkInterval)
        case .checkFailed(let reason):
            failedChecks += 1
            if failedChecks < failuresAllowed { return .check(after: checkInterval) }
            return failed(reason, fresh: false, at: now)
        case .startFailed(let reason): return failed(reason, fresh: false, at: now)
        case .machineLost(let reason): return failed(reason, fresh: true, at: now)
        }
    }

    private mutating func failed(_ reason: String, fresh: Bool, at now: Timestamp) -> Step {
        failedChecks = 0
        if let lastFailure, now - lastFailure > restart.forgetAfter {
            row = 0
            rowInPlace = 0
        }
        lastFailure = now
        if let limit = restart.limit, restarts >= limit {
            return .giveUp(limit == 0 ? reason : "it failed after \(limit) restarts: \(reason)")
        }
        restarts += 1
        var pause = restart.pause
        for _ in 0..<min(row, 30) { pause = min(pause * 2, restart.longestPause) }
        row += 1
        let moves = fresh || rowInPlace >= restart.inPlace
        rowInPlace = moves ? 0 : rowInPlace + 1
        return .start(fresh: moves, after: pause)
    }
}
