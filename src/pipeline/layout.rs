//! Records the positions of text, rows and members while the compressed chunks are written in order, in
//! bounded memory.

use crate::archive::manifest::RowsDigest;
use crate::archive::toc_file::{FileData, Member, RawSpan};
use crate::archive::toc_layout::{DataPlace, Layout, TextPlace};

use super::chunk::{ChunkSegment, RowFormat, SegmentContent};
use super::digest::{RowSums, joined_checksum};

/// Builds a [`Layout`].
#[derive(Debug)]
pub(super) struct LayoutBuilder {
    members: Vec<Noted>,
    text: Vec<TextPlace>,
    data: Vec<DataSums>,
    object_size: u64,
    raw_size: u64,
    /// Maximum number of members. Beyond it, neighboring members are joined.
    max_members: usize,
    /// Maximum number of uncompressed bytes in a joined member.
    joined_size: u64,
    digest_rows: bool,
    /// Whether only the sizes are recorded.
    sizes_only: bool,
}

#[derive(Clone, Copy, Debug)]
struct Noted {
    member: Member,
    /// Checksum of its text, if it is not compressed: a gzip member or zstd frame has its own.
    checksum: Option<u32>,
    /// Whether an entry's rows begin here. If so, it is not joined to the previous member.
    begins_data: bool,
}

#[derive(Debug)]
struct DataSums {
    place: DataPlace,
    sums: RowSums,
}

impl LayoutBuilder {
    pub(super) fn new(max_members: usize, chunk_size: usize, digest_rows: bool) -> Self {
        LayoutBuilder {
            members: Vec::new(),
            text: Vec::new(),
            data: Vec::new(),
            object_size: 0,
            raw_size: 0,
            max_members: max_members.max(2),
            joined_size: chunk_size as u64,
            digest_rows,
            sizes_only: false,
        }
    }

    /// Returns a builder that records only the sizes. Its layout is empty.
    pub(super) fn of_sizes() -> Self {
        LayoutBuilder { sizes_only: true, ..LayoutBuilder::new(0, 0, false) }
    }

    pub(super) fn object_size(&self) -> u64 {
        self.object_size
    }

    pub(super) fn raw_size(&self) -> u64 {
        self.raw_size
    }

    /// Records the next compressed chunk.
    pub(super) fn add(
        &mut self,
        object_length: u64,
        raw_length: u64,
        segments: &[ChunkSegment],
        sums: RowSums,
        checksum: Option<u32>,
    ) {
        if self.sizes_only {
            self.object_size += object_length;
            self.raw_size += raw_length;
            return;
        }
        let mut begins_data = false;
        let mut offset = self.raw_size;
        for (index, segment) in segments.iter().enumerate() {
            let raw = RawSpan { offset, length: segment.length };
            offset += segment.length;
            match segment.content {
                SegmentContent::Text { entry, role } => self.add_text(TextPlace { entry, role, raw }),
                SegmentContent::Data { entry, format, .. } => {
                    let sums = if index == 0 { sums } else { RowSums::default() };
                    begins_data |= self.add_data(entry, format, raw, sums) && segment.length > 0;
                }
            }
        }
        let member = Member {
            object_offset: self.object_size,
            object_length,
            raw_offset: self.raw_size,
            raw_length,
            rows: sums.rows,
        };
        self.object_size += object_length;
        self.raw_size += raw_length;
        self.members.push(Noted { member, checksum, begins_data });
        if self.members.len() > self.max_members {
            self.join();
        }
    }

    /// Adds bytes of the object that contain no text: a seek table.
    pub(super) fn add_trailer(&mut self, object_length: u64) {
        self.object_size += object_length;
    }

    fn add_text(&mut self, place: TextPlace) {
        match self.text.last_mut() {
            Some(last)
                if (last.entry, last.role) == (place.entry, place.role)
                    && last.raw.end() == place.raw.offset =>
            {
                last.raw.length += place.raw.length;
            }
            _ => self.text.push(place),
        }
    }

    /// Returns whether these are an entry's first rows.
    fn add_data(
        &mut self,
        entry: crate::archive::toc::DumpId,
        format: RowFormat,
        raw: RawSpan,
        sums: RowSums,
    ) -> bool {
        if let Some(last) = self.data.last_mut()
            && last.place.entry == entry
            && last.place.data.raw.end() == raw.offset
        {
            last.place.data.raw.length += raw.length;
            last.sums.add(sums);
            return false;
        }
        let data = FileData { format: format.into(), raw, members: (0, 0), rows: 0, digest: None };
        self.data.push(DataSums { place: DataPlace { entry, data }, sums });
        true
    }

    /// Joins neighboring members into members of at most `joined_size` uncompressed bytes, and doubles that
    /// size until at most half as many members are left. A member at which a table's rows begin is not joined
    /// to the previous one; the number of these members is bounded by the number of tables.
    fn join(&mut self) {
        loop {
            let limit = self.joined_size;
            self.members.dedup_by(|next, into| {
                let joins = !next.begins_data && into.member.raw_length + next.member.raw_length <= limit;
                if joins {
                    into.checksum = into
                        .checksum
                        .zip(next.checksum)
                        .map(|(into, checksum)| joined_checksum(into, checksum, next.member.raw_length));
                    into.member.object_length += next.member.object_length;
                    into.member.raw_length += next.member.raw_length;
                    into.member.rows += next.member.rows;
                }
                joins
            });
            if self.members.len() <= self.max_members / 2 || self.joined_size > self.raw_size {
                break;
            }
            self.joined_size *= 2;
        }
        self.max_members = self.max_members.max(2 * self.members.len());
    }

    /// Returns the layout.
    pub(super) fn finish(self) -> Layout {
        let checksums = self.members.iter().filter_map(|noted| noted.checksum).collect();
        let members: Vec<Member> = self.members.into_iter().map(|noted| noted.member).collect();
        let data = self.data.into_iter().map(|DataSums { mut place, sums }| {
            let raw = place.data.raw;
            let first = members.partition_point(|m| m.raw_offset + m.raw_length <= raw.offset);
            let end = members.partition_point(|m| m.raw_offset < raw.end()).max(first);
            place.data.members = if raw.length == 0 { (0, 0) } else { (first as u64, (end - first) as u64) };
            place.data.rows = sums.rows;
            let digested = self.digest_rows && place.data.format == RowFormat::Copy.into();
            place.data.digest = digested.then(|| RowsDigest::from(sums.digest));
            place
        });
        Layout { data: data.collect(), text: self.text, members, checksums }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::toc::DumpId;
    use crate::archive::toc::TextRole;
    use crate::pipeline::digest::text_checksum;

    fn rows(entry: u32, length: u64) -> ChunkSegment {
        let content = SegmentContent::Data { entry: DumpId(entry), format: RowFormat::Copy, rows: 0 };
        ChunkSegment { content, length }
    }

    fn text(entry: u32, length: u64) -> ChunkSegment {
        ChunkSegment {
            content: SegmentContent::Text { entry: Some(DumpId(entry)), role: TextRole::Body },
            length,
        }
    }

    #[test]
    fn members_are_joined_within_tables_only_and_stay_few() {
        let mut layout = LayoutBuilder::new(64, 100, true);
        layout.add(10, 100, &[text(1, 100)], RowSums::default(), None);
        for table in [2, 3] {
            for _ in 0..10_000 {
                layout.add(10, 100, &[rows(table, 100)], RowSums { rows: 5, digest: 1 }, None);
            }
            layout.add(10, 100, &[rows(table, 50), text(table, 50)], RowSums { rows: 2, digest: 1 }, None);
        }
        let layout = layout.finish();
        assert!(layout.members.len() <= 64, "{}", layout.members.len());
        assert_eq!(layout.data.len(), 2);
        for place in &layout.data {
            let (first, count) = place.data.members;
            let members = &layout.members[first as usize..(first + count) as usize];
            assert_eq!(members[0].raw_offset, place.data.raw.offset);
            assert_eq!(place.data.raw.length, 1_000_050);
            assert_eq!(members.iter().map(|m| m.rows).sum::<u64>(), 50_002);
            assert_eq!(place.data.rows, 50_002);
            assert_eq!(place.data.digest, Some(RowsDigest::from(10_001)));
        }
        for pair in layout.members.windows(2) {
            assert_eq!(pair[0].object_offset + pair[0].object_length, pair[1].object_offset);
            assert_eq!(pair[0].raw_offset + pair[0].raw_length, pair[1].raw_offset);
        }
    }

    #[test]
    fn joined_members_have_the_checksum_of_their_whole_text() {
        let mut layout = LayoutBuilder::new(8, 100, true);
        let sql: Vec<u8> = (0..5000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        for piece in sql.chunks(97) {
            let checksum = Some(text_checksum(piece));
            layout.add(0, piece.len() as u64, &[text(1, piece.len() as u64)], RowSums::default(), checksum);
        }
        let layout = layout.finish();
        assert!(layout.members.len() < 16 && layout.members.len() == layout.checksums.len());
        for (member, checksum) in layout.members.iter().zip(layout.checksums) {
            let raw = member.raw_offset as usize..(member.raw_offset + member.raw_length) as usize;
            assert_eq!(text_checksum(&sql[raw]), checksum);
        }
    }

    #[test]
    fn many_small_tables_are_each_noted() {
        let mut layout = LayoutBuilder::new(8, 100, false);
        for table in 1..=1000 {
            layout.add(10, 100, &[rows(table, 60), text(table, 40)], RowSums { rows: 1, digest: 0 }, None);
        }
        let layout = layout.finish();
        assert_eq!((layout.members.len(), layout.data.len(), layout.text.len()), (1000, 1000, 1000));
        assert_eq!(layout.data[0].data.digest, None);
    }

    #[test]
    fn a_table_without_rows_is_noted_where_its_rows_would_be() {
        let mut layout = LayoutBuilder::new(8, 100, true);
        layout.add(10, 100, &[text(1, 40), rows(1, 0), text(1, 60)], RowSums::default(), None);
        let layout = layout.finish();
        let data = layout.data[0].data;
        assert_eq!((data.raw, data.members, data.rows), (RawSpan { offset: 40, length: 0 }, (0, 0), 0));
    }
}
