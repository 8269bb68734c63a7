extension Treasurer {
    /// Takes an allocation that somebody made before, and looks whether this run can be paid from it.
    ///
    /// It is not written into the ledger: what stands there is released when the run is found crashed.
    /// - Throws: `notFound` for one that is not there any more; `usage` for one on another platform; `budget` for one in
    ///   which less is left than this run may spend.
    func reuse(_ id: AllocationID, platform: String) async throws -> Allocation {
        let found = try await client.waitingForDaemon(patience: daemonPatience) {
            try await client.payment.allocation(id)
        }
        guard found.paymentPlatform.isEmpty || found.paymentPlatform == platform else {
            throw GolemError(
                .usage, "the allocation is on \(found.paymentPlatform), the plan pays on \(platform)",
                place: "allocation \(id)", hint: "set network and driver of the plan to those of the allocation")
        }
        guard found.remaining >= remainingBudget else {
            throw GolemError(
                .budget, "\(found.remaining) GLM are left in the allocation, the run may spend \(remainingBudget)",
                place: "allocation \(id)", hint: "amend the allocation, or give the run a smaller budget")
        }
        allocation = id
        reused = id
        emit(
            RentalEvent(
                .allocated, "uses an allocation that was there, with \(found.remaining) GLM", amount: found.remaining))
        return found
    }
}
