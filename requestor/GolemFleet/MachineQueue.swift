/// Who works on what, as a pure value: requests and machines come in, assignments go out; no clock, no I/O.
///
/// A request is served by a machine that already has its inputs, if one is idle; else by the fastest idle one, sparing
/// machines that hold inputs of another waiting request. Inputs are known by digest. A machine whose provider the request avoids is taken only when
/// no other machine works for the run and none is on its way, or when the request has waited long enough.
package struct MachineQueue: Sendable {
    package typealias MachineID = String
    package typealias RequestID = Int

    package struct Machine: Sendable, Equatable {
        package var id: MachineID
        package var provider: String
        /// Digests of the files it holds.
        package var files: Set<String>
        /// Multiply-adds a second, once measured.
        package var speed: Double?

        package init(id: MachineID, provider: String, files: Set<String> = [], speed: Double? = nil) {
            self.id = id
            self.provider = provider
            self.files = files
            self.speed = speed
        }
    }

    package struct Request: Sendable, Equatable {
        package var id: RequestID
        /// Digests of the inputs that are to stay in the machine.
        package var inputs: Set<String>
        package var avoiding: Set<String>

        package init(id: RequestID, inputs: Set<String>, avoiding: Set<String> = []) {
            self.id = id
            self.inputs = inputs
            self.avoiding = avoiding
        }
    }

    package struct Assignment: Sendable, Equatable {
        package var request: RequestID
        package var machine: MachineID

        package init(request: RequestID, machine: MachineID) {
            self.request = request
            self.machine = machine
        }
    }

    package private(set) var waiting: [Request] = []
    package private(set) var machines: [MachineID: Machine] = [:]
    package private(set) var idle: Set<MachineID> = []
    /// How many machines the run wants; while there are fewer, others are on their way.
    private let target: Int

    package init(target: Int) {
        self.target = target
    }

    // MARK: Events

    package mutating func request(_ request: Request) -> [Assignment] {
        waiting.append(request)
        return serve()
    }

    /// The request is no longer wanted. Nothing happens to one that has been assigned.
    package mutating func cancel(_ id: RequestID) {
        waiting.removeAll { $0.id == id }
    }

    /// The request has waited long enough for a provider it does not avoid.
    package mutating func patienceOver(_ id: RequestID) -> [Assignment] {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return [] }
        waiting[index].avoiding = []
        return serve()
    }

    package mutating func arrived(_ machine: Machine) -> [Assignment] {
        machines[machine.id] = machine
        idle.insert(machine.id)
        return serve()
    }

    /// A machine is free again, perhaps with a file more.
    package mutating func finished(_ id: MachineID, files: Set<String>, speed: Double?) -> [Assignment] {
        guard var machine = machines[id] else { return [] }
        machine.files = files
        machine.speed = speed ?? machine.speed
        machines[id] = machine
        idle.insert(id)
        return serve()
    }

    package mutating func gone(_ id: MachineID) -> [Assignment] {
        machines[id] = nil
        idle.remove(id)
        return serve()
    }

    // MARK: Choice

    private mutating func serve() -> [Assignment] {
        var assignments: [Assignment] = []
        for request in waiting {
            guard let machine = choice(for: request) else { continue }
            idle.remove(machine)
            waiting.removeAll { $0.id == request.id }
            assignments.append(Assignment(request: request.id, machine: machine))
        }
        return assignments
    }

    private func choice(for request: Request) -> MachineID? {
        let free = idle.compactMap { machines[$0] }
        let welcome = free.filter { !request.avoiding.contains($0.provider) }
        if let best = best(welcome, for: request) { return best }
        let hasOther = machines.values.contains { !request.avoiding.contains($0.provider) }
        return hasOther || machines.count < target ? nil : best(free, for: request)
    }

    private func best(_ machines: [Machine], for request: Request) -> MachineID? {
        let wantedByOthers = waiting.lazy.filter { $0.id != request.id }
            .reduce(into: Set<String>()) { $0.formUnion($1.inputs) }
        func rank(_ machine: Machine) -> (Int, Int, Double, String) {
            (
                request.inputs.subtracting(machine.files).count, machine.files.isDisjoint(with: wantedByOthers) ? 0 : 1,
                -(machine.speed ?? 0), machine.id
            )
        }
        return machines.min { rank($0) < rank($1) }?.id
    }
}
