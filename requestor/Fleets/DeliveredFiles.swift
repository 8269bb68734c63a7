import Jobs
import NeuralNetwork
import Tensors

/// What a worker has left behind, checked as what comes from a stranger.
public enum DeliveredFiles {
    /// Reads what a job gave and makes sure that it and its receipt are the answer to this job: the receipt passes
    /// ``Jobs/Receipt/checked(for:examples:)``, the output is the one it tells of; a delta was made from these weights, this
    /// shard and these options in so many steps; predictions have a row an example; and every number is finite.
    ///
    /// Nothing of it needs the worker's stdout: receipt and output name each other by digest.
    /// - Parameters:
    ///   - path: where the output is on this machine; `nil` for a kind without one.
    ///   - asked: what the worker was told.
    /// - Throws: `DeMLError` that says what does not fit. Damage on the way shows as a `.mismatch` of SHA-256.
    package static func verify(
        output path: String?, receipt: Receipt, asked: WorkerJob, of job: FleetJob
    ) throws(DeMLError) -> (receipt: Receipt, output: JobAnswer.Output) {
        let receipt = try receipt.checked(for: asked, examples: job.examples)
        guard let path, let options = asked.training, let training = receipt.training else {
            guard let path, let digest = receipt.digests?.output else { return (receipt, .nothing) }
            try check(try Safetensors.digestOfContents(of: path), is: digest, path)
            let predictions = try Predictions(
                contentsOf: path, model: job.model, examples: job.examples, form: asked.kind.form)
            return (receipt, .predictions(predictions.values))
        }
        guard let weights = try asked.input(.weights).sha256, let shard = try asked.input(.shard).sha256 else {
            throw DeMLError(.internal, "a job without digests cannot be checked against files")
        }
        let delta = try Delta(contentsOf: path, model: job.model)
        try check(delta.sha256 ?? "unknown", is: training.digests.output ?? "nothing", path)
        try delta.check(weightsSHA256: weights, shardSHA256: shard, options: options)
        guard delta.examples == training.examples, delta.steps == training.steps else {
            throw DeMLError(
                .mismatch,
                "the delta tells of \(delta.examples) examples and \(delta.steps) steps, the report of "
                    + "\(training.examples) and \(training.steps)", place: path)
        }
        return (receipt, .delta(delta.parameters))
    }

    private static func check(_ digest: String, is told: String, _ path: String) throws(DeMLError) {
        guard digest == told else {
            throw DeMLError(
                .mismatch, "the SHA-256 of what came is \(digest), but the report says \(told)", place: path)
        }
    }
}
