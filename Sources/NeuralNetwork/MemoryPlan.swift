import CKernels
import Tensors

/// The bytes that a network takes, layer by layer, known before the first is taken.
///
/// A description and a batch may ask for more than any machine has. A system promises memory that it does not have and
/// ends the program when it is used, so the whole is compared with what is free beforehand.
package struct MemoryPlan: Sendable, Equatable {
    /// What an array is for.
    package enum Use: Sendable {
        case activations, gradients, parameters, optimizerState
    }

    /// One layer's share. Sums that leave the range of an integer stay at its end.
    package struct Share: Sendable, Equatable {
        /// `layer 3 (conv2d)`, `layer 3.layers.0 (linear)`, `the input`, `the loss`.
        package let place: String
        package fileprivate(set) var activations = 0
        package fileprivate(set) var gradients = 0
        package fileprivate(set) var parameters = 0
        package fileprivate(set) var optimizerState = 0
        /// What the kernels need while they compute this layer, all threads together.
        package fileprivate(set) var scratch = 0

        /// All of it.
        package var bytes: Int { arrays.addingSaturated(scratch) }

        package var arrays: Int {
            activations.addingSaturated(gradients).addingSaturated(parameters).addingSaturated(optimizerState)
        }

        fileprivate init(_ place: String) {
            self.place = place
        }
    }

    /// In the order in which the network is built.
    package private(set) var shares: [Share] = []
    private let threads: Int
    private var threadScratch = 0
    private var sharedScratch = 0

    init(threads: Int) {
        self.threads = threads
    }

    /// All arrays together.
    package var arrays: Int { shares.reduce(0) { $0.addingSaturated($1.arrays) } }

    /// The kernels' scratch memory belongs to the threads: one layer after the other uses it, and the largest counts.
    package var scratch: Int { deml_scratch_bytes(kernelScratch, threads) }

    /// Everything together.
    package var bytes: Int { arrays.addingSaturated(scratch) }

    var kernelScratch: deml_scratch { deml_scratch(thread_bytes: threadScratch, shared_bytes: sharedScratch) }

    mutating func add(_ bytes: Int, for use: Use, at place: String) {
        let index = index(of: place)
        switch use {
        case .activations: shares[index].activations = shares[index].activations.addingSaturated(bytes)
        case .gradients: shares[index].gradients = shares[index].gradients.addingSaturated(bytes)
        case .parameters: shares[index].parameters = shares[index].parameters.addingSaturated(bytes)
        case .optimizerState: shares[index].optimizerState = shares[index].optimizerState.addingSaturated(bytes)
        }
    }

    mutating func add(_ scratch: deml_scratch, at place: String) {
        let index = index(of: place)
        shares[index].scratch = max(shares[index].scratch, deml_scratch_bytes(scratch, threads))
        let both = deml_scratch_of_both(kernelScratch, scratch)
        threadScratch = both.thread_bytes
        sharedScratch = both.shared_bytes
    }

    private mutating func index(of place: String) -> Int {
        // Nearly always the last: layers are built one after the other, and at their end those that they lie in.
        if let index = shares.lastIndex(where: { $0.place == place }) { return index }
        shares.append(Share(place))
        return shares.count - 1
    }

    /// Throws `tooLarge` where this is more than `free` bytes, naming the layer that needs most.
    package func check(free: Int) throws(DeMLError) {
        guard bytes > free || bytes == .max, let largest = shares.max(by: { $0.bytes < $1.bytes }) else { return }
        let causes = [
            (bytes: largest.activations.addingSaturated(largest.gradients), cure: "a smaller batch needs less; or "),
            (bytes: largest.scratch, cure: "fewer threads need less; or "),
            (bytes: largest.parameters.addingSaturated(largest.optimizerState), cure: ""),
        ]
        let cure = causes.max { $0.bytes < $1.bytes }?.cure ?? ""
        throw DeMLError(
            .tooLarge,
            "the model needs \(bytes) bytes of memory, \(largest.bytes) of them for this alone, but \(free) are free",
            place: largest.place, hint: "\(cure)take a machine with more memory")
    }
}

extension Int {
    /// For sizes: the sum, or the largest integer.
    package func addingSaturated(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }

    /// For sizes: the product, or the largest integer.
    package func multipliedSaturated(by other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
