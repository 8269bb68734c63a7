import Tensors

/// Changes the inputs of a batch as an ``Augmentation`` says.
package final class Augmenter {
    private let augmentation: Augmentation
    private let network: Network
    private let seed: UInt64
    private let isChannelsLast: Bool
    private let channels: Int
    private let height: Int
    private let width: Int
    /// One example as it was.
    private var original: [Float]

    /// - Parameter augmentation: checked against the model of the network.
    package init(_ augmentation: Augmentation, _ network: Network, seed: UInt64) {
        self.augmentation = augmentation
        self.network = network
        self.seed = seed
        let shape = network.model.inputShape
        isChannelsLast = network.input.layout == .channelsLast && shape.count > 1
        // Noise goes with any shape: then only the number of channels counts, for the order.
        channels = shape[0]
        height = shape.count == 3 ? shape[1] : 1
        width = shape.count == 3 ? shape[2] : shape.dropFirst().reduce(1, *)
        original = [Float](repeating: 0, count: shape.reduce(1, *))
    }

    /// Changes the batch that lies in the network's input.
    /// - Parameter place: of its first example in the epoch.
    package func apply(epoch: UInt32, place: Int) {
        let size = original.count
        for index in 0..<network.pass.batch {
            var generator = SeededGenerator(
                seed: seed, purpose: "augmentation", epoch, UInt32(truncatingIfNeeded: place + index))
            let values = network.input.values + index * size
            move(values, &generator)
            guard augmentation.noise > 0 else { continue }
            for channel in 0..<channels {
                for row in 0..<height {
                    for column in 0..<width {
                        values[offset(channel, row, column)] += Float(augmentation.noise * generator.normal())
                    }
                }
            }
        }
    }

    /// Where a number of an example lies.
    private func offset(_ channel: Int, _ row: Int, _ column: Int) -> Int {
        isChannelsLast
            ? (row * width + column) * channels + channel : (channel * height + row) * width + column
    }

    private func move(_ values: UnsafeMutablePointer<Float>, _ generator: inout SeededGenerator) {
        let reach = augmentation.shift
        let down = reach > 0 ? generator.uniform(below: 2 * reach + 1) - reach : 0
        let right = reach > 0 ? generator.uniform(below: 2 * reach + 1) - reach : 0
        let isFlipped = augmentation.flip && generator.nextWord() & 1 == 1
        guard down != 0 || right != 0 || isFlipped else { return }
        original.withUnsafeMutableBufferPointer { original in
            guard let source = original.baseAddress else { return }
            source.update(from: values, count: original.count)
            for channel in 0..<channels {
                let outside = network.normalizedZero(channel: channel)
                for row in 0..<height {
                    let from = row + down
                    for column in 0..<width {
                        let across = (isFlipped ? width - 1 - column : column) + right
                        let isInside = from >= 0 && from < height && across >= 0 && across < width
                        values[offset(channel, row, column)] =
                            isInside ? source[offset(channel, from, across)] : outside
                    }
                }
            }
        }
    }
}
