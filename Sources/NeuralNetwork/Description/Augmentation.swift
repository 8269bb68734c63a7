import Tensors

/// How the inputs of a training are changed at random, anew in every epoch, so that a model learns what does not matter.
///
/// What is drawn for an example depends on the seed, the epoch and the example's place in it alone
/// (`SeededGenerator(seed: seed, purpose: "augmentation", epoch, place)`): batches, threads and machines change nothing.
/// In this order: vertical and horizontal shift, flip, then a normal variate for each number of the input, by channel, row
/// and column. Evaluation sees the examples as they are.
public struct Augmentation: Sendable, Equatable {
    /// Images are moved by up to so many pixels, up or down and left or right; what comes in from outside is 0 in the data
    /// (torchvision's RandomCrop with as much padding).
    public var shift: Int
    /// Half of the images are mirrored, left to right (torchvision's RandomHorizontalFlip).
    public var flip: Bool
    /// Standard deviation of the normal noise that is added to every number of the input, after `divide_by`, `mean` and
    /// `std`.
    public var noise: Double

    public init(shift: Int = 0, flip: Bool = false, noise: Double = 0) {
        self.shift = shift
        self.flip = flip
        self.noise = noise
    }

    /// Whether nothing is changed.
    public var isEmpty: Bool { self == Augmentation() }

    /// Refuses numbers that make no sense.
    public func validate() throws(DeMLError) {
        guard (0...4096).contains(shift) else {
            throw DeMLError(
                .outOfRange, "augmentation's shift \(shift) is not between 0 and 4096 pixels", place: "options")
        }
        guard noise >= 0, noise <= 1e6 else {
            throw DeMLError(.outOfRange, "augmentation's noise \(noise) is not between 0 and 1e6", place: "options")
        }
    }

    /// Refuses what the inputs of a model cannot have done to them.
    func validate(inputShape shape: [Int]) throws(DeMLError) {
        try validate()
        guard shift > 0 || flip else { return }
        guard shape.count == 3 else {
            throw DeMLError(
                .usage,
                "augmentation's shift and flip are for images of the shape [channels, height, width], but the model takes"
                    + " \(shape)", place: "options", hint: "noise goes with any input")
        }
        guard shift < min(shape[1], shape[2]) else {
            throw DeMLError(
                .usage, "augmentation's shift \(shift) moves images of \(shape[1]) x \(shape[2]) out of sight",
                place: "options")
        }
    }
}

/// `{"flip": true, "noise": 0.05, "shift": 2}`; what is left out does nothing.
extension Augmentation: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "the augmentation", keys: ["shift", "flip", "noise"])
        self.init(
            shift: try keys.optional("shift", Int.self) ?? 0, flip: try keys.optional("flip", Bool.self) ?? false,
            noise: try keys.optional("noise", Double.self) ?? 0)
        try validate()
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        if shift != 0 { try container.encode(shift, forKey: TextKey("shift")) }
        if flip { try container.encode(flip, forKey: TextKey("flip")) }
        if noise != 0 { try container.encode(noise, forKey: TextKey("noise")) }
    }
}
