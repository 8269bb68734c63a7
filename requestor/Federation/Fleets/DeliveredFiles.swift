import Jobs
import NeuralNetwork
import Tensors

/// What a worker has left behind, checked as what comes from a stranger.
public enum DeliveredFiles {
    /// A training's answer that has passed the border.
    public struct Training: Sendable {
        public var update: Update
        public var receipt: Receipt
        public var training: Receipt.Training
    }

    /// Reads a delta and makes sure that it and its receipt are the answer to this job: the receipt passes
    /// ``Jobs/Receipt/checked(for:examples:)``, the file is the one it tells of, it was made from these weights, this
    /// shard and these options in so many steps, and every number is finite.
    ///
    /// Nothing of it needs the worker's output: receipt and delta name each other by digest.
    /// - Throws: `DeMLError` that says what does not fit. Damage on the way shows as a `.mismatch` of SHA-256.
    public static func verify(
        delta path: String, receipt: Receipt, job: WorkerJob, assignment: TrainAssignment
    ) throws(DeMLError) -> Training {
        let receipt = try receipt.checked(for: job, examples: assignment.shard.count)
        guard let training = receipt.training, let options = job.training else {
            throw DeMLError(.internal, "a training was asked for, and something else was checked")
        }
        guard let weights = try job.input(.weights).sha256, let shard = try job.input(.shard).sha256 else {
            throw DeMLError(.internal, "an assignment without files cannot be checked against files")
        }
        let delta = try Delta(contentsOf: path, model: assignment.weights.weights.model)
        guard delta.sha256 == training.digests.output else {
            throw DeMLError(
                .mismatch,
                "the delta's SHA-256 is \(delta.sha256 ?? "unknown"), but the report says "
                    + (training.digests.output ?? "nothing"), place: path)
        }
        try delta.check(weightsSHA256: weights, shardSHA256: shard, options: options)
        guard delta.examples == training.examples, delta.steps == training.steps else {
            throw DeMLError(
                .mismatch,
                "the delta tells of \(delta.examples) examples and \(delta.steps) steps, the report of "
                    + "\(training.examples) and \(training.steps)", place: path)
        }
        return Training(
            update: Update(
                client: assignment.client, examples: training.examples, values: delta.parameters,
                workDone: training.workDone(of: options)),
            receipt: receipt, training: training)
    }
}
