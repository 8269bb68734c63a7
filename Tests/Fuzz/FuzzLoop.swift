import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Mutates, tries, keeps what gave a new outcome as a seed for further mutations.
struct FuzzLoop {
    let targets: [FuzzTarget]
    let seed: UInt64
    let seconds: Double
    let scratch: String

    /// An input that takes longer is taken for the beginning of a hang.
    private static let slowest = 5.0
    private static let maximumInput = 256 << 10
    private static let maximumCorpus = 600

    private struct State {
        let target: FuzzTarget
        var corpus: [[UInt8]]
        /// How many at the beginning of the corpus are the valid ones.
        var seeds = 0
        var outcomes: Set<String> = []
        var executions = 0
        var accepted = 0
        var slowest = 0.0
    }

    func run(memory megabytes: Int) throws {
        try Self.limit(RLIMIT_AS, to: megabytes << 20)
        try Self.limit(RLIMIT_CORE, to: 0)
        let current = try CurrentInput(scratch)
        var states: [State] = []
        for target in targets {
            var state = State(target: target, corpus: [])
            for seed in try target.seeds() {
                current.set(target.name, seed)
                let outcome = try target.outcome(seed)
                guard outcome == FuzzTarget.accepted else {
                    throw DeMLError(.internal, "a seed of \(target.name) is refused: \(outcome)")
                }
                state.corpus.append(seed)
            }
            state.seeds = state.corpus.count
            states.append(state)
        }
        let start = now()
        var turn: UInt32 = 0
        while now() - start < seconds {
            for index in states.indices {
                try Self.turn(
                    &states[index], SeededGenerator(seed: seed, purpose: states[index].target.name, turn), current)
            }
            turn += 1
        }
        report(states)
    }

    private static func turn(_ state: inout State, _ generator: SeededGenerator, _ current: CurrentInput) throws {
        var mutator = Mutator(generator: generator)
        let start = now()
        // By the number of tries, not by time, so that the same seed tries the same inputs.
        for _ in 0..<state.target.batch {
            // Half of them from the valid inputs, so that what lies behind the first checks is reached.
            let isValid = mutator.chance(2)
            let parent = state.corpus[mutator.generator.uniform(below: isValid ? state.seeds : state.corpus.count)]
            let other = state.corpus[mutator.generator.uniform(below: state.corpus.count)]
            let input = state.target.mutate(parent, other, &mutator)
            guard input.count <= maximumInput, input != parent else { continue }
            current.set(state.target.name, input)
            let begin = now()
            let outcome = try state.target.outcome(input)
            let took = now() - begin
            state.slowest = max(state.slowest, took)
            guard took < slowest else {
                throw DeMLError(.timedOut, "\(state.target.name) took \(took) seconds for \(input.count) bytes")
            }
            state.executions += 1
            if outcome == FuzzTarget.accepted { state.accepted += 1 }
            let isNew = state.outcomes.insert(outcome).inserted
            guard isNew || outcome == FuzzTarget.accepted else { continue }
            if state.corpus.count < maximumCorpus {
                state.corpus.append(input)
            } else {
                let place = state.seeds + mutator.generator.uniform(below: maximumCorpus - state.seeds)
                state.corpus[place] = input
            }
            if now() - start > 1 { break }
        }
    }

    private func report(_ states: [State]) {
        for state in states {
            print(
                "\(state.target.name): \(state.executions) executions, \(state.accepted) accepted,"
                    + " \(state.outcomes.count) outcomes, slowest \((state.slowest * 1000).rounded()) ms")
        }
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let total = states.reduce(0) { $0 + $1.executions }
        print("\(total) executions with seed \(seed), peak memory \(usage.ru_maxrss / 1024) MB")
    }

    private static func limit(_ resource: __rlimit_resource, to value: Int) throws {
        var limit = rlimit(rlim_cur: rlim_t(value), rlim_max: rlim_t(value))
        guard setrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0 else {
            throw DeMLError(.internal, "the limit of resource \(resource.rawValue) cannot be set")
        }
    }
}
