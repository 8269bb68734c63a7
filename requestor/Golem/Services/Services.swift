import Synchronization

/// One instance of a service: which machine it is in now, if it works.
public final class ServiceInstance: Sendable {
    /// From 0.
    public let index: Int
    private let state = Mutex<Machine?>(nil)

    init(index: Int) { self.index = index }

    /// The machine in which the service works; `nil` while it is being started.
    public var current: Machine? { state.withLock { $0 } }

    /// Waits until the service works and returns its machine. Throws `CancellationError`.
    public func machine() async throws -> Machine {
        while true {
            if let machine = current { return machine }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    func set(_ machine: Machine?) { state.withLock { $0 = machine } }
}

extension MachinePool {
    /// Keeps a service up while `body` runs.
    public func withService<Result: Sendable>(
        _ plan: ServicePlan, onEvent: @Sendable @escaping (ServiceEvent) -> Void = { _ in },
        _ body: @Sendable @escaping (ServiceInstance) async throws -> Result
    ) async throws -> Result {
        try await withServices(plan, count: 1, onEvent: onEvent) { try await body($0[0]) }
    }

    /// Keeps `count` instances of a service up while `body` runs, each in a machine of its own. The plan of the pool should
    /// keep as many machines.
    ///
    /// - Throws: what `body` throws; `machineLost` when an instance failed more often than its ``RestartPolicy`` allows;
    ///   `noMachine`, `budget` as ``next(excluding:)``. On every way out the services are stopped and the machines given
    ///   back.
    public func withServices<Result: Sendable>(
        _ plan: ServicePlan, count: Int, onEvent: @Sendable @escaping (ServiceEvent) -> Void = { _ in },
        _ body: @Sendable @escaping ([ServiceInstance]) async throws -> Result
    ) async throws -> Result {
        precondition(count >= 1, "a service has one instance at least")
        let instances = (0..<count).map { ServiceInstance(index: $0) }
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            for instance in instances {
                group.addTask {
                    try await ServiceKeeper(pool: self, plan: plan, instance: instance, onEvent: onEvent).keep()
                    return nil
                }
            }
            group.addTask { try await body(instances) }
            defer { group.cancelAll() }
            while let next = try await group.next() {
                if let result = next { return result }
            }
            throw CancellationError()
        }
    }
}

/// Performs what ``ServiceStateMachine`` decides for one instance, until cancelled.
private struct ServiceKeeper {
    let pool: MachinePool
    let plan: ServicePlan
    let instance: ServiceInstance
    let onEvent: @Sendable (ServiceEvent) -> Void

    private func tell(_ kind: ServiceEvent.Kind, _ message: String, _ machine: Machine?) {
        onEvent(
            ServiceEvent(
                instance: instance.index, kind: kind, message: message, providerName: machine?.providerName))
    }

    /// Ends by cancellation, or throws when the service is given up.
    func keep() async throws {
        var machine: Machine?
        do {
            try await keep(&machine)
        } catch {
            instance.set(nil)
            if let machine { await end(machine) }
            if error is CancellationError { return }
            throw error
        }
    }

    private func keep(_ machine: inout Machine?) async throws {
        var state = ServiceStateMachine(plan)
        var step = state.first
        while true {
            switch step {
            case .start(let fresh, let pause):
                instance.set(nil)
                if fresh, let old = machine {
                    machine = nil
                    await pool.discard(
                        old, because: "its service failed", blame: old.lossReason?.isProvidersFault ?? true)
                }
                try await Task.sleep(for: pause)
                let current: Machine
                if let machine {
                    current = machine
                } else {
                    current = try await pool.next()
                    machine = current
                }
                step = state.handle(try await start(current), at: .now())
            case .check(let interval):
                guard let current = machine else { throw CancellationError() }
                step = state.handle(try await check(current, after: interval), at: .now())
            case .giveUp(let reason):
                throw GolemError(
                    .machineLost, "the service is given up: \(reason)", place: machine?.label,
                    hint: "its RestartPolicy allows no further restart")
            }
        }
    }

    private func start(_ machine: Machine) async throws -> ServiceStateMachine.Event {
        tell(.starting, "", machine)
        do {
            try await plan.start(machine)
            instance.set(machine)
            tell(.running, "", machine)
            return .started
        } catch {
            return try failure(error, machine) { .startFailed($0) }
        }
    }

    private func check(_ machine: Machine, after interval: Duration) async throws -> ServiceStateMachine.Event {
        let end = ContinuousClock.now + interval
        while ContinuousClock.now < end, machine.lossReason == nil {
            try await Task.sleep(for: min(.milliseconds(200), end - .now))
        }
        if let reason = machine.lossReason {
            instance.set(nil)
            tell(.failed, reason.message, machine)
            return .machineLost(reason.message)
        }
        guard let check = plan.check else { return .checkPassed }
        do {
            // To its end, even if all is over meanwhile: a batch that is called off costs the machine, and with it `stop`.
            let limit = plan.checkLimit
            try await shielded { try await withDeadline(limit) { try await check(machine) } }
            try Task.checkCancellation()
            return .checkPassed
        } catch {
            return try failure(error, machine) { .checkFailed($0) }
        }
    }

    private func failure(
        _ error: any Error, _ machine: Machine, _ event: (String) -> ServiceStateMachine.Event
    ) throws -> ServiceStateMachine.Event {
        if Task.isCancelled { throw CancellationError() }
        let reason =
            switch error {
            case let error as GolemError: error.message
            case is DeadlineExceeded: "the check took longer than \(plan.checkLimit)"
            default: "\(error)"
            }
        let happened = machine.lossReason == nil ? event(reason) : .machineLost(reason)
        if case .checkFailed = happened {
            tell(.checkFailed, reason, machine)
        } else {
            instance.set(nil)
            tell(.failed, reason, machine)
        }
        return happened
    }

    private func end(_ machine: Machine) async {
        if machine.lossReason == nil, let stop = plan.stop {
            let limit = plan.stopLimit
            do {
                try await shielded { try await withDeadline(limit) { try await stop(machine) } }
                tell(.stopped, "", machine)
            } catch {
                tell(.stopFailed, (error as? GolemError)?.message ?? "\(error)", machine)
            }
        } else {
            tell(.stopped, machine.lossReason?.message ?? "", machine)
        }
        await pool.giveBack(machine)
    }
}
