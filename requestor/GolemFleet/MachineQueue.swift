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
    /// How many of the waiting requests want a file, by its digest.
    private var wanted: [String: Int] = [:]
    package private(set) var machines: [MachineID: Machine] = [:]
    package private(set) var idle: Set<MachineID> = []
    /// Idle machines by the digest of a file that they hold.
    private var holders: [String: Set<MachineID>] = [:]
    /// How many machines the run wants; while there are fewer, others are on their way.
    private let target: Int

    package init(target: Int) {
        self.target = target
    }

    // MARK: Events

    package mutating func request(_ request: Request) -> [Assignment] {
        waiting.append(request)
        for input in request.inputs { wanted[input, default: 0] += 1 }
        // Those that wait already could not be served before it came, and can no more now.
        guard let machine = choice(for: request) else { return [] }
        return [assign(machine, to: request)]
    }

    /// The request is no longer wanted. Nothing happens to one that has been assigned.
    package mutating func cancel(_ id: RequestID) {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return }
        forget(waiting.remove(at: index))
    }

    /// The request has waited long enough for a provider it does not avoid.
    package mutating func patienceOver(_ id: RequestID) -> [Assignment] {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return [] }
        waiting[index].avoiding = []
        return serve()
    }

    package mutating func arrived(_ machine: Machine) -> [Assignment] {
        withdraw(machine.id)
        offer(machine)
        return serve()
    }

    /// A machine is free again, perhaps with a file more.
    package mutating func finished(_ id: MachineID, files: Set<String>, speed: Double?) -> [Assignment] {
        guard var machine = machines[id] else { return [] }
        machine.files = files
        machine.speed = speed ?? machine.speed
        withdraw(id)
        offer(machine)
        return serve()
    }

    package mutating func gone(_ id: MachineID) -> [Assignment] {
        withdraw(id)
        machines[id] = nil
        return serve()
    }

    private mutating func offer(_ machine: Machine) {
        machines[machine.id] = machine
        idle.insert(machine.id)
        for file in machine.files { holders[file, default: []].insert(machine.id) }
    }

    /// It is idle no more, if it was.
    private mutating func withdraw(_ id: MachineID) {
        guard idle.remove(id) != nil, let machine = machines[id] else { return }
        for file in machine.files {
            holders[file]?.remove(id)
            if holders[file]?.isEmpty ?? false { holders[file] = nil }
        }
    }

    // MARK: Choice

    private mutating func serve() -> [Assignment] {
        var assignments: [Assignment] = []
        for request in waiting {
            // With a thousand machines, most events find a thousand requests and one idle machine.
            if idle.isEmpty { break }
            guard let machine = choice(for: request) else { continue }
            assignments.append(assign(machine, to: request))
        }
        return assignments
    }

    private mutating func assign(_ machine: MachineID, to request: Request) -> Assignment {
        withdraw(machine)
        cancel(request.id)
        return Assignment(request: request.id, machine: machine)
    }

    private mutating func forget(_ request: Request) {
        for input in request.inputs {
            let left = (wanted[input] ?? 1) - 1
            wanted[input] = left > 0 ? left : nil
        }
    }

    private func choice(for request: Request) -> MachineID? {
        if let best = best(for: request, where: { !request.avoiding.contains($0.provider) }) { return best }
        let hasOther = machines.values.contains { !request.avoiding.contains($0.provider) }
        return hasOther || machines.count < target ? nil : best(for: request, where: { _ in true })
    }

    /// Of the idle machines that are welcome.
    private func best(for request: Request, where isWelcome: (Machine) -> Bool) -> MachineID? {
        // One that holds an input goes before all that hold none, and of a thousand few do.
        let holding = request.inputs.reduce(into: Set<MachineID>()) { $0.formUnion(holders[$1] ?? []) }
        return best(of: holding, for: request, where: isWelcome) ?? best(of: idle, for: request, where: isWelcome)
    }

    private func best(
        of candidates: Set<MachineID>, for request: Request, where isWelcome: (Machine) -> Bool
    ) -> MachineID? {
        var best: (id: MachineID, rank: (Int, Int, Double, MachineID))?
        for id in candidates {
            guard let machine = machines[id], isWelcome(machine) else { continue }
            var missing = request.inputs.count
            var isWantedByOthers = false
            for file in machine.files {
                let isOurs = request.inputs.contains(file)
                if isOurs { missing -= 1 }
                if wanted[file, default: 0] > (isOurs ? 1 : 0) { isWantedByOthers = true }
            }
            let rank = (missing, isWantedByOthers ? 1 : 0, -(machine.speed ?? 0), id)
            if best.map({ rank < $0.rank }) ?? true { best = (id, rank) }
        }
        return best?.id
    }
}
