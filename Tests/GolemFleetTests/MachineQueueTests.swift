import GolemFleet
import Tensors
import Testing

@Suite struct MachineQueueTests {
    private func machine(_ id: String, files: Set<String> = [], speed: Double? = nil) -> MachineQueue.Machine {
        .init(id: id, provider: "p-" + id, files: files, speed: speed)
    }

    @Test func requestsWaitForMachines() {
        var queue = MachineQueue(target: 2)
        #expect(queue.request(.init(id: 1, inputs: ["0"])) == [])
        #expect(queue.arrived(machine("a")) == [.init(request: 1, machine: "a")])
        #expect(queue.request(.init(id: 2, inputs: ["1"])) == [])
        #expect(queue.finished("a", files: ["0"], speed: nil) == [.init(request: 2, machine: "a")])
    }

    @Test func machineThatHasTheShardIsPreferred() {
        var queue = MachineQueue(target: 3)
        _ = queue.arrived(machine("a", speed: 9))
        _ = queue.arrived(machine("b", files: ["7"]))
        #expect(queue.request(.init(id: 1, inputs: ["7"])) == [.init(request: 1, machine: "b")])
    }

    @Test func fasterMachineIsPreferredAmongStrangers() {
        var queue = MachineQueue(target: 3)
        _ = queue.arrived(machine("a", speed: 1))
        _ = queue.arrived(machine("b", speed: 2))
        #expect(queue.request(.init(id: 1, inputs: ["7"])) == [.init(request: 1, machine: "b")])
    }

    @Test func avoidedProviderWaitsForAnother() {
        var queue = MachineQueue(target: 2)
        _ = queue.arrived(machine("a"))
        #expect(queue.request(.init(id: 1, inputs: ["0"], avoiding: ["p-a"])) == [])
        #expect(queue.arrived(machine("b")) == [.init(request: 1, machine: "b")])
    }

    @Test func avoidedProviderIsTakenWhenAllAreThereAndAvoided() {
        var queue = MachineQueue(target: 1)
        _ = queue.arrived(machine("a"))
        #expect(queue.request(.init(id: 1, inputs: ["0"], avoiding: ["p-a"])) == [.init(request: 1, machine: "a")])
    }

    @Test func patienceEndsTheAvoiding() {
        var queue = MachineQueue(target: 2)
        _ = queue.arrived(machine("a"))
        _ = queue.request(.init(id: 1, inputs: ["0"], avoiding: ["p-a"]))
        #expect(queue.patienceOver(1) == [.init(request: 1, machine: "a")])
        #expect(queue.patienceOver(1) == [])
    }

    @Test func cancelledRequestGetsNothing() {
        var queue = MachineQueue(target: 1)
        _ = queue.request(.init(id: 1, inputs: ["0"]))
        queue.cancel(1)
        #expect(queue.arrived(machine("a")) == [])
    }

    @Test func goneMachineGetsNothing() {
        var queue = MachineQueue(target: 2)
        _ = queue.arrived(machine("a"))
        _ = queue.gone("a")
        #expect(queue.request(.init(id: 1, inputs: ["0"])) == [])
        #expect(queue.finished("a", files: [], speed: nil) == [])
    }

    /// Of many machines and requests, each gets what a look at all of them would choose.
    @Test(arguments: 0..<40) func bestOfAllIsChosen(seed: UInt64) {
        var random = SeededGenerator(seed: seed, purpose: "machine-choice")
        var queue = MachineQueue(target: 1)
        let files = (0..<12).map { "\($0)" }
        var idle: [MachineQueue.Machine] = []
        for number in 0..<Int.random(in: 1...30, using: &random) {
            let held = Set(files.filter { _ in Int.random(in: 0..<4, using: &random) == 0 })
            idle.append(machine("m\(number)", files: held, speed: Double(Int.random(in: 0..<3, using: &random))))
            #expect(queue.arrived(idle[number]) == [])
        }
        // They wait for a provider that is not there, and what they want is spared all the same.
        let everyone = Set(idle.map(\.provider))
        var wanted: [Int: Set<String>] = [:]
        for number in 0..<Int.random(in: 0...6, using: &random) {
            wanted[number] = Set(files.filter { _ in Int.random(in: 0..<3, using: &random) == 0 })
            var others = MachineQueue.Request(id: number, inputs: wanted[number] ?? [])
            others.avoiding = everyone
            if number == 0 { _ = queue.arrived(.init(id: "busy", provider: "welcome")) }
            for assignment in queue.request(others) {
                #expect(assignment == .init(request: 0, machine: "busy"))
                wanted[number] = nil
            }
            if Int.random(in: 0..<4, using: &random) == 0 {
                queue.cancel(number)
                wanted[number] = nil
            }
        }
        for number in 100..<140 {
            let inputs = Set(files.filter { _ in Int.random(in: 0..<3, using: &random) == 0 })
            let others = wanted.values.reduce(into: Set<String>()) { $0.formUnion($1) }
            let best = idle.min { first, second in
                func rank(_ machine: MachineQueue.Machine) -> (Int, Int, Double, String) {
                    (
                        inputs.subtracting(machine.files).count, machine.files.isDisjoint(with: others) ? 0 : 1,
                        -(machine.speed ?? 0), machine.id
                    )
                }
                return rank(first) < rank(second)
            }
            let assignments = queue.request(.init(id: number, inputs: inputs))
            guard let best else {
                #expect(assignments == [])
                wanted[number] = inputs
                continue
            }
            #expect(assignments == [.init(request: number, machine: best.id)], "seed \(seed), request \(number)")
            idle.removeAll { $0.id == best.id }
        }
    }

    /// Whatever happens in whatever order: a machine has one task at a time, a request is served once, nobody waits while
    /// a machine that it does not avoid is idle.
    @Test(arguments: 0..<200) func invariantsHoldInEveryOrder(seed: UInt64) {
        var random = SeededGenerator(seed: seed, purpose: "machine-queue")
        var queue = MachineQueue(target: 4)
        var busy: [String: Int] = [:]
        var served: Set<Int> = []
        var waiting: [Int: Set<String>] = [:]
        var alive: Set<String> = []
        var next = 0
        for step in 0..<120 {
            var assignments: [MachineQueue.Assignment] = []
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                next += 1
                let avoiding = Set((0..<4).filter { _ in Bool.random(using: &random) }.map { "p-m\($0)" })
                waiting[next] = avoiding
                assignments = queue.request(
                    .init(id: next, inputs: ["\(Int.random(in: 0..<5, using: &random))"], avoiding: avoiding))
            case 2:
                let id = "m\(Int.random(in: 0..<4, using: &random))"
                guard alive.insert(id).inserted else { continue }
                assignments = queue.arrived(machine(id))
            case 3:
                guard let id = busy.keys.sorted().randomElement(using: &random) else { continue }
                busy[id] = nil
                assignments = queue.finished(id, files: ["\(Int.random(in: 0..<5, using: &random))"], speed: 1)
            case 4:
                guard let id = alive.sorted().randomElement(using: &random) else { continue }
                alive.remove(id)
                busy[id] = nil
                assignments = queue.gone(id)
            default:
                guard let id = waiting.keys.sorted().randomElement(using: &random) else { continue }
                if Bool.random(using: &random) {
                    waiting[id] = nil
                    queue.cancel(id)
                } else {
                    waiting[id] = []
                    assignments = queue.patienceOver(id)
                }
            }
            for assignment in assignments {
                #expect(served.insert(assignment.request).inserted, "seed \(seed), step \(step): served twice")
                #expect(
                    alive.contains(assignment.machine) && busy[assignment.machine] == nil, "seed \(seed), step \(step)")
                #expect(waiting.removeValue(forKey: assignment.request) != nil, "seed \(seed), step \(step)")
                busy[assignment.machine] = assignment.request
            }
            for (id, avoiding) in waiting {
                let free = alive.filter { busy[$0] == nil && !avoiding.contains("p-" + $0) }
                #expect(free.isEmpty, "seed \(seed), step \(step): \(id) waits while \(free) are idle")
            }
        }
    }
}
