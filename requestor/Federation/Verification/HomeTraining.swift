import Aggregation
import Fleets
import NeuralNetwork
import Tensors
import Worker

#if os(Linux)
    import Glibc
#endif

/// Does the work of an answer again on this machine, whole. The same job gives the same bytes on every machine and with
/// any number of threads.
package struct HomeTraining: Sendable {
    let plan: RunPlan

    /// - Parameters:
    ///   - steps: how many the answer tells of.
    ///   - isAgain: with other threads and, where there are some, other instructions: a machine that computes wrongly will
    ///     hardly do it in the same way twice.
    /// - Throws: `CancellationError`.
    func recompute(
        _ assignment: TrainAssignment, steps: Int, isAgain: Bool
    ) async throws -> AuditMachine.Recomputation {
        let stop = StopFlag()
        let result = await withTaskCancellationHandler {
            await Result.catching {
                try await onOwnThread(named: "audit") {
                    Self.giveWay()
                    return perform(assignment, steps: steps, isAgain: isAgain, stop)
                }
            }
        } onCancel: {
            stop.raise()
        }
        try Task.checkCancellation()
        return try result.get()
    }

    private func perform(
        _ assignment: TrainAssignment, steps: Int, isAgain: Bool, _ stop: StopFlag
    ) -> AuditMachine.Recomputation {
        let examples = assignment.shard.examples ?? plan.train.subset(plan.parts[assignment.client])
        var done = 0
        do throws(DeMLError) {
            let training = try LocalTraining(
                weights: assignment.weights.weights, examples: examples, options: assignment.options,
                threads: isAgain ? max(1, plan.threads / 2) : plan.threads,
                instructionSet: isAgain ? Self.otherInstructions : nil)
            let result = try training.perform(shouldStop: {
                done += 1
                return stop.isUp || done >= steps
            })
            return .delta(digest: DeltaFingerprint(result.parameters, key: 0).digest)
        } catch {
            // Memory, threads: of this machine, not of the work.
            let isOfTheWork = error.code == .notFinite
            return isOfTheWork ? .refusal(code: error.code.rawValue) : .undone(error.summary)
        }
    }

    /// Vector instructions beside the fastest; none where only the slow portable ones are left.
    package static var otherInstructions: InstructionSet? {
        let standard = InstructionSet.standard
        return InstructionSet.allCases.first { $0 != .portable && $0 != standard && $0.isAvailable }
    }

    /// Averaging, evaluation and the wire go first: an audit has time until the next round.
    private static func giveWay() {
        #if os(Linux)
            // Of this thread and of those that it starts.
            _ = nice(10)
        #endif
    }
}

extension Result where Failure == any Error {
    fileprivate static func catching(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Success
    ) async -> Result {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
