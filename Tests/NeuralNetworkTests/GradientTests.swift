import NeuralNetwork
import Tensors
import Testing

/// Gradients against finite differences of the loss, over random models and shapes: for each parameter along a random
/// direction, by the fourth-order formula (8(f(h) - f(-h)) - (f(2h) - f(-2h)))/12h.
@Suite struct GradientTests {
    @Test(arguments: [
        "linear", "conv", "conv_groups", "conv1d", "conv_transpose", "max_pool", "avg_pool", "pools1d", "activation",
        "layer_norm",
        "group_norm", "rms_norm", "batch_norm", "dropout",
        "residual", "concat", "gate", "mse", "bce_with_logits", "huber", "pad", "upsample", "adaptive_avg_pool",
        "rescaling", "embedding", "attention", "attention_dropout", "lstm", "gru", "tied_linear",
    ])
    func finiteDifferences(_ kind: String) throws {
        for number in 0..<12 {
            var random = RandomSource(kind, number)
            let model = try Self.model(kind, &random)
            let batch = random.integer(max(kind == "batch_norm" ? 3 : 1, model.leastBatch)...5)
            let smoothing = model.loss == .crossEntropy ? random.choice([0, 0.1]) : 0
            let probe = try Probe(model, try random.examples(model, count: batch), labelSmoothing: smoothing)
            var parameters = Initializer.weights(for: model, seed: UInt64(number)).parameters
            // Away from ones and zeros, which hide mistakes.
            for (index, noise) in random.normals(parameters.count).enumerated() { parameters[index] += 0.1 * noise }
            _ = probe.loss(parameters, batch: batch)
            let gradients = model.slices(probe.gradients())
            var start = 0
            for (name, gradient) in gradients {
                let direction = random.normals(gradient.count)
                func loss(_ distance: Float) -> Double {
                    var moved = parameters
                    for index in 0..<gradient.count { moved[start + index] += distance * direction[index] }
                    return probe.loss(moved, batch: batch)
                }
                // Small steps where the largest of a window may change.
                let h: Float = kind == "max_pool" || kind == "pools1d" ? 1e-4 : 2e-3
                let difference = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / Double(12 * h)
                let slope = zip(gradient, direction).reduce(0) { $0 + Double($1.0) * Double($1.1) }
                let norm = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
                #expect(
                    abs(slope - difference) < 2e-3 + 0.02 * norm,
                    "\(name): slope \(slope), by differences \(difference), norm \(norm); \(model.canonicalJSON)")
                start += gradient.count
            }
        }
    }

    /// A random model around one kind of layer. Activations are smooth, because a kink is no place for differences.
    static func model(_ kind: String, _ random: inout RandomSource) throws -> ModelDescription {
        let classes = random.integer(2...5)
        let head: [Layer] = [.flatten, .linear(outFeatures: classes)]
        let image = [random.integer(1...5), random.integer(4...7), random.integer(4...7)]
        func conv(_ out: Int, _ random: inout RandomSource) -> Layer {
            .conv2d(
                outChannels: out, kernelSize: Size2D(random.integer(1...3), random.integer(1...3)),
                stride: Size2D(random.integer(1...2), random.integer(1...2)),
                padding: Size2D(random.integer(0...2), random.integer(0...2)), bias: random.choice([true, false]))
        }
        func same(_ out: Int) -> Layer { .conv2d(outChannels: out, kernelSize: 3, padding: 1) }
        let channels = random.choice([1, 2, 4, 6])
        switch kind {
        case "linear":
            return try ModelDescription(
                input: .init(shape: [random.integer(1...3), random.integer(1...20)]),
                layers: [.linear(outFeatures: random.integer(1...20)), .tanh] + head, loss: .crossEntropy)
        case "conv":
            return try ModelDescription(
                input: .init(shape: image), layers: [conv(channels, &random), .tanh, conv(3, &random)] + head,
                loss: .crossEntropy)
        case "conv_groups":
            let groups = random.integer(2...4)
            let each = random.choice([1, 2])
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    same(groups * each), .tanh,
                    .conv2d(
                        outChannels: groups * random.integer(1...2), kernelSize: Size2D(random.integer(1...3), 2),
                        stride: Size2D(1, random.integer(1...2)), padding: 1,
                        dilation: Size2D(random.integer(1...2), random.integer(1...2)), groups: groups), .tanh, same(3),
                ] + head, loss: .crossEntropy)
        case "conv1d":
            return try ModelDescription(
                input: .init(shape: [image[0], 9]),
                layers: [
                    .conv1d(outChannels: 4, kernelSize: 3, padding: random.integer(0...2)), .tanh,
                    .conv1d(
                        outChannels: 4, kernelSize: 2, stride: random.integer(1...2), dilation: random.integer(1...2),
                        groups: random.choice([1, 2, 4])),
                ] + head, loss: .crossEntropy)
        case "pools1d":
            let kernel = random.integer(2...4)
            return try ModelDescription(
                input: .init(shape: [image[0], 19]),
                layers: [
                    .conv1d(outChannels: channels, kernelSize: 3, padding: 1), .tanh,
                    .averagePool1d(kernelSize: kernel, stride: random.integer(1...2), padding: kernel / 2),
                    .conv1d(outChannels: channels, kernelSize: 2), .tanh,
                    .maxPool1d(kernelSize: 2, padding: random.integer(0...1)),
                    .adaptiveAveragePool1d(outputSize: random.integer(1...4)),
                ] + head, loss: .crossEntropy)
        case "conv_transpose":
            let stride = random.integer(1...3)
            let groups = random.choice([1, 2, 4])
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    same(4), .tanh,
                    .convTranspose2d(
                        outChannels: 4, kernelSize: Size2D(random.integer(1...3), 2), stride: Size2D(stride, 2),
                        padding: random.choice([0, 1]), outputPadding: Size2D(stride - 1, 1),
                        dilation: Size2D(1, random.integer(1...2)), groups: groups), .tanh, same(2),
                ] + head, loss: .crossEntropy)
        case "max_pool":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    same(channels),
                    .maxPool2d(
                        .init(
                            kernelSize: 2, stride: Size2D(random.integer(1...3), 2),
                            padding: random.integer(0...1) == 0 ? 0 : 1,
                            ceilMode: random.integer(0...1) == 0)),
                ] + head, loss: .crossEntropy)
        case "avg_pool":
            let window = Window2D(
                kernelSize: Size2D(random.integer(2...3), 2), stride: Size2D(random.integer(1...2), 2), padding: 1,
                ceilMode: random.integer(0...1) == 0, countIncludePad: random.integer(0...1) == 0)
            return try ModelDescription(
                input: .init(shape: image),
                layers: [same(channels), .averagePool2d(window), .tanh, same(3), .globalAveragePool2d] + head,
                loss: .crossEntropy)
        case "activation":
            return try ModelDescription(
                input: .init(shape: [random.integer(1...9)]),
                layers: [
                    .linear(outFeatures: 9), random.choice([.tanh, .sigmoid, .gelu, .silu, .elu(), .geluTanh]),
                    .linear(outFeatures: 7),
                    random.choice([.gelu, .sigmoid, .silu, .softplus(beta: 1.3), .geluTanh]),
                    .linear(outFeatures: classes),
                ], loss: .crossEntropy)
        case "rescaling":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    conv(channels, &random), .rescaling(scale: [1.5]), .tanh,
                    .rescaling(scale: (0..<channels).map { 0.5 + Double($0) }, offset: [0.25]), conv(3, &random),
                    .rescaling(scale: [2], offset: [0.1, -0.2, 0.3]),
                ] + head, loss: .crossEntropy)
        case "layer_norm":
            let shape = [channels, image[1], image[2]]
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    same(channels), .layerNorm(normalizedShape: Array(shape.suffix(random.integer(1...3)))), .tanh,
                ] + head, loss: .crossEntropy)
        case "batch_norm":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    same(channels), .batchNorm(epsilon: 0.1), .tanh, .flatten, .linear(outFeatures: 4),
                    .batchNorm(epsilon: 0.1),
                    .sigmoid, .linear(outFeatures: classes),
                ], loss: .crossEntropy)
        case "rms_norm":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    same(channels),
                    .rmsNorm(
                        normalizedShape: Array([channels, image[1], image[2]].suffix(random.integer(1...3))),
                        epsilon: 0.01), .tanh,
                ] + head, loss: .crossEntropy)
        case "pad":
            let padding = (0..<4).map { _ in random.integer(0...3) }
            return try ModelDescription(
                input: .init(shape: image),
                layers: [same(channels), .pad(padding, value: 0.3), .tanh, same(2), .pad([1]), same(3)] + head,
                loss: .crossEntropy)
        case "upsample":
            let bilinear = random.choice([true, false])
            let size = Size2D(random.integer(1...9), random.integer(1...9))
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    same(channels), .upsample(scaleFactor: random.choice([0.6, 1.7, 2, 3]), bilinear: bilinear), .tanh,
                    same(2), .upsample(size: size, bilinear: bilinear), same(3),
                ] + head, loss: .crossEntropy)
        case "adaptive_avg_pool":
            let size = Size2D(random.integer(1...9), random.integer(1...9))
            return try ModelDescription(
                input: .init(shape: image),
                layers: [same(channels), .adaptiveAveragePool2d(outputSize: size), .tanh, same(3)] + head,
                loss: .crossEntropy)
        case "group_norm":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [same(channels), .groupNorm(groups: random.choice([1, channels])), .tanh] + head,
                loss: .crossEntropy)
        case "dropout":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [.dropout(p: 0.3), same(channels), .tanh, .dropout(), .flatten, .dropout(p: 0.1)]
                    + [.linear(outFeatures: classes)], loss: .crossEntropy)
        case "concat":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    .concat(branches: [[], [same(channels), .tanh]]), same(3),
                    .concat(
                        branches: random.choice([
                            [[.tanh], [same(channels), .sigmoid], []], [[], [.tanh], [.sigmoid]],
                        ])), .tanh, same(2),
                ] + head, loss: .crossEntropy)
        case "gate":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    same(channels),
                    .gate(layers: [.globalAveragePool2d, .conv2d(outChannels: channels, kernelSize: 1), .sigmoid]),
                    .gate(layers: [same(channels), .tanh]), .gate(layers: [.sigmoid]),
                ] + head, loss: .crossEntropy)
        case "residual":
            return try ModelDescription(
                input: .init(shape: image),
                layers: [
                    .residual(
                        layers: [same(channels), .tanh], projection: [.conv2d(outChannels: channels, kernelSize: 1)]),
                    .residual(layers: [.groupNorm(groups: 1), .gelu, same(channels)]),
                ] + head, loss: .crossEntropy)
        case "embedding", "tied_linear":
            let width = random.integer(1...20)
            let body: [Layer] = [
                // A padded row that occurs has an influence, but no gradient.
                .embedding(width: width, count: 12, paddingIndex: random.choice([nil, 11])),
                .positionalEmbedding(maximumLength: random.choice([nil, 9])), .tanh, .linear(outFeatures: width), .tanh,
            ]
            return try ModelDescription(
                input: .init(shape: [random.integer(1...9)], tokens: 11),
                layers: body + (kind == "embedding" ? head : [.tiedLinear(bias: random.choice([true, false]))]),
                loss: .crossEntropy)
        case "attention", "attention_dropout":
            let heads = random.integer(1...3)
            return try ModelDescription(
                input: .init(shape: [random.choice([1, 5, 33, 70]), random.integer(1...4)]),
                layers: [
                    .linear(outFeatures: heads * random.choice([1, 3, 8])),
                    .attention(
                        heads: heads, isCausal: random.choice([true, false]), bias: random.choice([true, false]),
                        dropout: kind == "attention" ? 0 : 0.3), .tanh,
                ] + head, loss: .crossEntropy)
        case "lstm", "gru":
            let (hidden, layers) = (random.integer(1...20), random.integer(1...2))
            let (bias, both) = (random.choice([true, false]), random.choice([true, false]))
            let isLast = random.choice([true, false])
            let recurrent: Layer =
                kind == "lstm"
                ? .lstm(
                    hidden: hidden, layers: layers, bias: bias, dropout: random.choice([0, 0.2]), isBidirectional: both,
                    isLast: isLast)
                : .gru(
                    hidden: hidden, layers: layers, bias: bias, dropout: random.choice([0, 0.2]), isBidirectional: both,
                    isLast: isLast)
            return try ModelDescription(
                input: .init(shape: [random.integer(1...7), random.integer(1...5)]),
                layers: [.linear(outFeatures: 4), recurrent] + head, loss: .crossEntropy)
        default:
            let losses: [ModelDescription.Loss] = [.meanSquaredError, .binaryCrossEntropy, .huber(delta: 0.8)]
            let loss = losses.first { $0.name == kind }
            return try ModelDescription(
                input: .init(shape: image), layers: [same(channels), .sigmoid, same(2)], loss: #require(loss))
        }
    }
}
