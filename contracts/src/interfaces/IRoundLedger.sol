// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IMemberRegistry} from "./IMemberRegistry.sol";

/// @notice What a quorum of members says about one round. Members sign it as EIP-712 typed data.
/// @param round Number of the round; the first one is 0, and none is left out.
/// @param kind 0 statistics, 1 training, 2 closing.
/// @param outcome 1 settled, 2 abandoned.
/// @param previous EIP-712 struct hash of the result of `round - 1`; zero for round 0.
/// @param config `configDigest` of the roster that made this result.
/// @param dealers Bit i is set if the update of the member with roster index i is in the sum;
///   if abandoned, in a sum over the same model that somebody may have seen, so that later sets can be held against it.
/// @param model BLAKE3 digest of the model file after the round; of the unchanged model if abandoned.
/// @param deals Merkle root over (index, digest of the member's Deal) of the dealers; zero if abandoned.
/// @param scores keccak256 of the packed scores that became known in this round; zero if none did.
/// @param rewards Merkle root over (index, cumulative reward in wei) of all roster indices, after this round.
/// @param rewardsTotal Sum of these cumulative rewards, in wei.
struct RoundResult {
    uint64 round;
    uint8 kind;
    uint8 outcome;
    bytes32 previous;
    bytes32 config;
    uint256 dealers;
    bytes32 model;
    bytes32 deals;
    bytes32 scores;
    bytes32 rewards;
    uint128 rewardsTotal;
}

/// @title What every round produced, one digest a round, each naming the one before
/// @notice Anyone may submit a result; only a quorum of the roster can make one. A recorded result never changes.
interface IRoundLedger {
    /* ERRORS */

    /// @notice There is no contract at the registry's address.
    error NoRegistry(address registry);

    /// @notice The registry names another ledger.
    error NotTheLedger(address named);

    /// @notice Results are recorded in order, without gaps, each once.
    error RoundOutOfSequence(uint64 expected, uint64 found);

    /// @notice The result does not follow the one recorded last.
    error PreviousMismatch(bytes32 expected, bytes32 found);

    /// @notice The result was made by another roster, for another task, or for another chain.
    error ConfigMismatch(bytes32 expected, bytes32 found);

    /// @notice A kind of round that this version does not know.
    error UnknownKind(uint8 found);

    /// @notice An outcome that this version does not know.
    error UnknownOutcome(uint8 found);

    /// @notice A settled round has dealers, an abandoned one has no Deals.
    error DealersContradictOutcome(uint8 outcome, uint256 dealers, bytes32 deals);

    /// @notice Somebody in the bitmap of dealers is not on the roster.
    error DealersOutsideRoster(uint256 dealers, uint256 active);

    /// @notice The scores are not those that were signed.
    error ScoresMismatch(bytes32 expected, bytes32 found);

    /// @notice Scores are eight bytes for each roster index.
    error ScoresLengthMismatch(uint256 expected, uint256 found);

    /// @notice Somebody in the bitmap of signers is not on the roster.
    error SignersOutsideRoster(uint256 signers, uint256 active);

    /// @notice Fewer members signed than a quorum.
    error QuorumNotReached(uint256 needed, uint256 found);

    /// @notice Signatures are 64 bytes for each member in the bitmap of signers.
    error SignaturesLengthMismatch(uint256 expected, uint256 found);

    /// @notice The signature in the place of the member with roster index `index` is not that member's.
    error InvalidSignature(uint256 index);

    /* EVENTS */

    /// @notice The result of a round is final.
    /// @param round Number of the round.
    /// @param digest EIP-712 struct hash of `result`: what is stored, and what the next result names.
    /// @param result The result itself.
    /// @param scores Empty, or one big-endian int64 for each roster index: parts per million of validation loss.
    /// @param signers Bit i is set if the member with roster index i signed.
    /// @param signatures EIP-2098 signatures (r, vs) of the signers over the typed data, by ascending roster index.
    event RoundRecorded(
        uint64 indexed round, bytes32 digest, RoundResult result, bytes scores, uint256 signers, bytes signatures
    );

    /* ACTIONS */

    /// @notice Records the result of the next round. Anyone may call it: the signatures decide.
    /// @param result What the signers signed.
    /// @param scores Empty if `result.scores` is zero, else the packed scores of which it is the keccak256.
    /// @param signers Bit i is set if the member with roster index i signed; at least a quorum of bits.
    /// @param signatures 64 bytes (EIP-2098: r, then s with the parity of v in its highest bit) for each signer, by
    /// ascending roster index.
    function submitRound(
        RoundResult calldata result,
        bytes calldata scores,
        uint256 signers,
        bytes calldata signatures
    ) external;

    /* VIEWS */

    /// @notice Version of this contract's source.
    function VERSION() external view returns (string memory);

    /// @notice The registry whose roster may record results.
    function registry() external view returns (IMemberRegistry);

    /// @notice Number of the round that is recorded next, which is the number of rounds recorded.
    function nextRound() external view returns (uint64);

    /// @notice EIP-712 struct hash of the result of `round`; zero while it is not recorded.
    function resultDigest(uint64 round) external view returns (bytes32);

    /// @notice Time of the block that recorded `round`, in Unix seconds; zero while it is not recorded.
    function recordedAt(uint64 round) external view returns (uint64);

    /// @notice EIP-712 struct hash of `result`.
    function hashResult(RoundResult calldata result) external pure returns (bytes32);

    /// @notice EIP-712 domain separator under which members sign: "Mycelia", "1", this chain, this contract.
    function domainSeparator() external view returns (bytes32);
}
